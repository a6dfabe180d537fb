//! Conversions between common units, by UCUM code (case-sensitive; <https://ucum.org/ucum>).

/// Each unit as a straight line to the base unit of its dimension: base = unit * factor + offset.
/// Factors are the definitions of SI and UCUM: 0 Cel = 273.15 K, 1 `[degF]` = 5/9 K, 1 bar = 10^5 Pa,
/// 1 atm = 101325 Pa, 1 `[psi]` = 6894.757293168361 Pa, Ki = 1024.
const UNITS: &[(&str, &str, f64, f64)] = &[
    ("K", "K", 1.0, 0.0),
    ("Cel", "K", 1.0, 273.15),
    ("[degF]", "K", 5.0 / 9.0, 459.67 * 5.0 / 9.0),
    ("Pa", "Pa", 1.0, 0.0),
    ("hPa", "Pa", 1e2, 0.0),
    ("kPa", "Pa", 1e3, 0.0),
    ("mbar", "Pa", 1e2, 0.0),
    ("bar", "Pa", 1e5, 0.0),
    ("atm", "Pa", 101_325.0, 0.0),
    ("[psi]", "Pa", 6_894.757_293_168_361, 0.0),
    ("m/s", "m/s", 1.0, 0.0),
    ("km/h", "m/s", 1.0 / 3.6, 0.0),
    ("mm", "m", 1e-3, 0.0),
    ("cm", "m", 1e-2, 0.0),
    ("m", "m", 1.0, 0.0),
    ("km", "m", 1e3, 0.0),
    ("mV", "V", 1e-3, 0.0),
    ("V", "V", 1.0, 0.0),
    ("kV", "V", 1e3, 0.0),
    ("mA", "A", 1e-3, 0.0),
    ("A", "A", 1.0, 0.0),
    ("mW", "W", 1e-3, 0.0),
    ("W", "W", 1.0, 0.0),
    ("kW", "W", 1e3, 0.0),
    ("W.h", "J", 3.6e3, 0.0),
    ("kW.h", "J", 3.6e6, 0.0),
    ("J", "J", 1.0, 0.0),
    ("Hz", "Hz", 1.0, 0.0),
    ("kHz", "Hz", 1e3, 0.0),
    ("/min", "Hz", 1.0 / 60.0, 0.0),
    ("ms", "s", 1e-3, 0.0),
    ("s", "s", 1.0, 0.0),
    ("min", "s", 60.0, 0.0),
    ("h", "s", 3600.0, 0.0),
    ("By", "By", 1.0, 0.0),
    ("KiBy", "By", 1024.0, 0.0),
    ("MiBy", "By", 1_048_576.0, 0.0),
    ("GiBy", "By", 1_073_741_824.0, 0.0),
    ("kBy", "By", 1e3, 0.0),
    ("MBy", "By", 1e6, 0.0),
    ("1", "1", 1.0, 0.0),
    ("%", "1", 1e-2, 0.0),
    ("[ppm]", "1", 1e-6, 0.0),
];

/// Codes of all known units.
pub(super) fn codes() -> impl Iterator<Item = &'static str> {
    UNITS.iter().map(|(code, ..)| *code)
}

fn find(code: &str) -> Option<&'static (&'static str, &'static str, f64, f64)> {
    UNITS.iter().find(|(known, ..)| *known == code)
}

/// Codes of the units that `code` can be converted to.
pub(super) fn siblings(code: &str) -> Vec<&'static str> {
    let base = find(code).map(|(_, base, ..)| *base);
    let same = UNITS
        .iter()
        .filter(|unit| Some(unit.1) == base && unit.0 != code);
    same.map(|unit| unit.0).collect()
}

/// The straight line (factor, offset) from one unit to another; `None` where there is none.
pub(super) fn convert(from: &str, to: &str) -> Option<(f64, f64)> {
    let (_, base, from_factor, from_offset) = find(from)?;
    let (_, other, to_factor, to_offset) = find(to)?;
    (base == other).then(|| {
        (
            from_factor / to_factor,
            (from_offset - to_offset) / to_factor,
        )
    })
}
