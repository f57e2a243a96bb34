//! One function of the redirect path, many times, where callgrind counts.

use crate::work::{self, Work};

pub(crate) fn names() -> anyhow::Result<()> {
    work::all()?.iter().for_each(|work| println!("{}", work.name));
    Ok(())
}

pub(crate) fn run(name: &str, times: &str) -> anyhow::Result<()> {
    let mut all = work::all()?;
    let found = all.iter_mut().find(|work| work.name == name);
    let work = found.ok_or_else(|| anyhow::anyhow!("there is no `{name}`; `measure count` names them"))?;
    // What is made or looked up once is not counted.
    (work.run)(64);
    measured(work, times.parse()?);
    Ok(())
}

/// What scripts/bench guard has callgrind look at; it goes by this name.
#[inline(never)]
fn measured(work: &mut Work, times: u64) {
    (work.run)(times);
}
