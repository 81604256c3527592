//! Two threads that lock the same two `parking_lot` mutexes in different orders, and one that waits to read. A debuggee for
//! tests.

use std::sync::Barrier;
use std::thread;

use parking_lot::{Mutex, RwLock};

static ALICE: Mutex<u64> = Mutex::new(100);
static BOB: Mutex<u64> = Mutex::new(100);
static RATES: RwLock<u64> = RwLock::new(3);

#[inline(never)]
fn transfer(from: &Mutex<u64>, to: &Mutex<u64>, both: &Barrier) {
    let mut source = from.lock();
    both.wait();
    let mut target = to.lock();
    *source -= 1;
    *target += 1;
}

#[inline(never)]
fn convert(amount: u64) -> u64 {
    amount * *RATES.read()
}

fn main() {
    let rates = RATES.write();
    let both = Barrier::new(2);
    thread::scope(|scope| {
        scope.spawn(|| transfer(&ALICE, &BOB, &both));
        scope.spawn(|| transfer(&BOB, &ALICE, &both));
        scope.spawn(|| convert(7));
    });
    drop(rates);
}
