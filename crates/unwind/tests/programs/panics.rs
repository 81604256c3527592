//! Frames of Rust: generic calls, closures in library code, a panic that is caught.
use std::collections::BTreeMap;
use std::hint::black_box;

#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn stop_here(number: u64) {
    black_box(number);
}

struct Noisy(u64);

impl Drop for Noisy {
    fn drop(&mut self) {
        stop_here(self.0);
    }
}

#[inline(never)]
fn sort<T: Ord + Copy>(mut values: Vec<T>) -> Vec<T> {
    values.sort_by(|left, right| {
        stop_here(1);
        left.cmp(right)
    });
    values
}

#[inline(never)]
fn panics(depth: u64) -> u64 {
    let noisy = Noisy(depth);
    if depth == 0 {
        panic!("at the bottom");
    }
    panics(depth - 1) + noisy.0
}

fn main() {
    std::panic::set_hook(Box::new(|_| stop_here(2)));
    let sorted = sort(black_box(vec![3, 1, 2]));
    let caught = std::panic::catch_unwind(|| panics(black_box(3)));
    let map: BTreeMap<_, _> = sorted.iter().map(|value| { stop_here(3); (*value, value * 2) }).collect();
    std::thread::spawn(move || stop_here(map.len() as u64 + u64::from(caught.is_err()))).join().unwrap();
}
