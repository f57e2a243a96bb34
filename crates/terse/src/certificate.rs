//! Until when a certificate is valid: read from the file that holds it, by walking just as far into it as the date lies.

use std::io;
use std::path::Path;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// The end of the first certificate of a PEM file to end, in seconds since 1970.
///
/// # Errors
/// The file cannot be read, or holds no certificate whose end can be told.
pub(crate) fn not_after(path: &Path) -> io::Result<i64> {
    let pem = std::fs::read(path)?;
    let unreadable = || io::Error::new(io::ErrorKind::InvalidData, "holds no certificate whose end can be told");
    let ends: Option<Vec<i64>> = CertificateDer::pem_slice_iter(&pem).map(|certificate| end(&certificate.ok()?)).collect();
    ends.into_iter().flatten().min().ok_or_else(unreadable)
}

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// RFC 5280, 4.1: a certificate begins with version (or not), serial number, algorithm, issuer and validity.
fn end(certificate: &[u8]) -> Option<i64> {
    let (certificate, _) = inside(certificate, SEQUENCE)?;
    let (mut signed, _) = inside(certificate, SEQUENCE)?;
    if signed.first() == Some(&VERSION) {
        (_, _, signed) = element(signed)?;
    }
    for _ in ["serial number", "algorithm", "issuer"] {
        (_, _, signed) = element(signed)?;
    }
    let (validity, _) = inside(signed, SEQUENCE)?;
    let (_, _, rest) = element(validity)?;
    let (tag, time, _) = element(rest)?;
    moment(tag, std::str::from_utf8(time).ok()?)
}

fn moment(tag: u8, text: &str) -> Option<i64> {
    let text = match tag {
        // Two digits of a year mean 1950 to 2049.
        UTC_TIME if text >= "50" => format!("19{text}"),
        UTC_TIME => format!("20{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let time = DateTime::strptime("%Y%m%d%H%M%SZ", text).ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second())
}

/// What is in the element at the beginning, if it is of this kind, and what follows it.
fn inside(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(der)?;
    (found == tag).then_some((content, rest))
}

/// Tag, content, and what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, der) = der.split_first()?;
    let (&first, mut der) = der.split_first()?;
    let mut len = usize::from(first & 0x7f);
    if first & 0x80 != 0 {
        // The length of the length; a certificate has no four gigabytes.
        let bytes = der.get(..len).filter(|bytes| (1..=4).contains(&bytes.len()))?;
        der = &der[len..];
        len = bytes.iter().try_fold(0_usize, |len, byte| len.checked_mul(256)?.checked_add(usize::from(*byte)))?;
    }
    (der.len() >= len).then(|| (tag, &der[..len], &der[len..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(year: i32) -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["go.example.com".into()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 12, 31);
        params.self_signed(&key).unwrap().pem()
    }

    #[test]
    fn the_first_end_of_a_chain_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chain.pem");
        // 2049-12-31 is written with two digits of the year, 2050-12-31 with four.
        for (years, end) in [(vec![2049], 2_524_521_600), (vec![2050], 2_556_057_600), (vec![2050, 1999, 2049], 946_598_400)] {
            std::fs::write(&path, years.iter().map(|year| pem(*year)).collect::<String>()).unwrap();
            assert_eq!(not_after(&path).unwrap(), end, "{years:?}");
        }
    }

    #[test]
    fn what_is_no_certificate_is_refused_wherever_it_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cert.pem");
        assert!(not_after(&path).is_err());
        std::fs::write(&path, "nothing").unwrap();
        assert!(not_after(&path).is_err());
        let whole = CertificateDer::from_pem_slice(pem(2040).as_bytes()).unwrap();
        assert!(end(&whole).is_some());
        for len in 0..whole.len() {
            assert_eq!(end(&whole[..len]), None, "{len} bytes");
        }
        for wrong in [&[0x30, 0x80][..], &[0x30, 0xff, 1], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]] {
            assert_eq!(end(wrong), None);
        }
    }
}
