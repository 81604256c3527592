// Frames of C++: destructors run by the unwinder, catch clauses, virtual calls, lambdas inside library code.
#include <algorithm>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

volatile long sink;
extern "C" __attribute__((noinline)) void stop_here(long number) { sink = sink + number; }

struct Guard {
  std::string name;
  explicit Guard(const char *text) : name(text) {}
  ~Guard() { stop_here(static_cast<long>(name.size())); }
};

struct Shape {
  virtual ~Shape() = default;
  virtual double area(double scale) const = 0;
};
struct Circle final : Shape {
  double radius;
  explicit Circle(double r) : radius(r) {}
  double area(double scale) const override {
    stop_here(2);
    return radius * radius * scale;
  }
};

__attribute__((noinline)) long thrower(long depth) {
  Guard guard("a guard with a long name so that it is on the heap");
  if (depth == 0) throw std::runtime_error("bottom");
  return thrower(depth - 1) + 1;
}

__attribute__((noinline)) long catcher() {
  try {
    return thrower(3);
  } catch (const std::exception &error) {
    stop_here(3);
    return error.what()[0];
  }
}

int main() {
  std::vector<int> values{5, 3, 9, 1};
  std::sort(values.begin(), values.end(), [](int left, int right) {
    stop_here(4);
    return left < right;
  });
  std::map<std::string, std::function<long()>> actions;
  actions["catch"] = [] { return catcher(); };
  long sum = 0;
  for (auto &[name, action] : actions) sum += action();
  Circle circle(2);
  const Shape &shape = circle;
  return static_cast<int>(sum + static_cast<long>(shape.area(3))) == 0;
}
