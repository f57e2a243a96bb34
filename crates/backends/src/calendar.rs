//! Months in days: what a roll-up of a month covers.

const MONTHS_PER_YEAR: u32 = 12;

/// Days since 1970-01-01 of the first day of a month counted from 1970-01 (proleptic Gregorian calendar).
pub(crate) fn first_day(month: u32) -> u32 {
    let (year, month) = (1970 + month / MONTHS_PER_YEAR, month % MONTHS_PER_YEAR);
    let before = year - 1;
    let leap_days = |year: u32| year / 4 - year / 100 + year / 400;
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let lengths = [31, if is_leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let in_year: u32 = lengths.iter().zip(0..month).map(|(length, _)| length).sum();
    (year - 1970) * 365 + leap_days(before) - leap_days(1969) + in_year
}

#[cfg(test)]
mod tests {
    use super::first_day;

    #[test]
    fn months_begin_on_their_first_day() {
        for (month, day) in
            [(0, 0), (1, 31), (2, 59), (12, 365), (12 * 2 + 2, 365 * 2 + 60), (12 * 56 + 10, 20_758), (12 * 130 + 2, 47_541)]
        {
            assert_eq!(first_day(month), day, "{month}");
        }
    }
}
