//! The functions of a redirect, one by one: `cargo bench -p measure`. On a busy machine look at `scripts/bench guard` instead.

#[path = "../src/work.rs"]
mod work;

use std::time::{Duration, Instant};

use criterion::Criterion;

fn main() {
    let mut criterion =
        Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2)).configure_from_args();
    for mut work in work::all().expect("what is measured can be started") {
        // As in `measure count`: what is made once is not timed.
        (work.run)(64);
        criterion.bench_function(work.name, |bencher| {
            bencher.iter_custom(|times| {
                let began = Instant::now();
                (work.run)(times);
                began.elapsed()
            });
        });
    }
    criterion.final_summary();
}
