//! The symbols that a shared object offers: the dynamic symbol table of a 64-bit little-endian ELF, elf(5).

use std::path::Path;

/// What linkers put there by themselves.
const LINKERS: [&str; 6] = [
    "_init",
    "_fini",
    "_edata",
    "_end",
    "__bss_start",
    "__gmon_start__",
];
/// Type of the section that holds dynamic symbols, `SHT_DYNSYM`.
const DYNSYM: u64 = 11;
const SYMBOL_BYTES: usize = 24;

fn number(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(length)?)?;
    Some(
        field
            .iter()
            .rev()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
    )
}

fn place(bytes: &[u8], at: usize, length: usize) -> Option<usize> {
    usize::try_from(number(bytes, at, length)?).ok()
}

/// Names of the defined global symbols; `None` where the file is no such ELF.
fn defined(bytes: &[u8]) -> Option<Vec<String>> {
    // Offsets and sizes: Elf64_Ehdr, Elf64_Shdr and Elf64_Sym.
    let (sections, size, count) = (
        place(bytes, 40, 8)?,
        place(bytes, 58, 2)?,
        place(bytes, 60, 2)?,
    );
    let header = |index: usize| sections.checked_add(index.checked_mul(size)?);
    let mut names = Vec::new();
    for index in 0..count {
        let at = header(index)?;
        if number(bytes, at + 4, 4)? != DYNSYM {
            continue;
        }
        let (offset, length) = (place(bytes, at + 24, 8)?, place(bytes, at + 32, 8)?);
        let strings = place(bytes, header(place(bytes, at + 40, 4)?)? + 24, 8)?;
        for symbol in (offset..offset.checked_add(length)?).step_by(SYMBOL_BYTES) {
            let info = number(bytes, symbol + 4, 1)?;
            let section = number(bytes, symbol + 6, 2)?;
            // Local symbols and those of other libraries are nobody's to find.
            if info >> 4 == 0 || section == 0 {
                continue;
            }
            let start = strings.checked_add(place(bytes, symbol, 4)?)?;
            let name = bytes.get(start..)?.split(|byte| *byte == 0).next()?;
            names.push(String::from_utf8_lossy(name).into_owned());
        }
    }
    Some(names)
}

/// Whether the library exports its entry and nothing else.
pub(crate) fn only_the_entry(library: &Path) -> Result<String, String> {
    let bytes = std::fs::read(library).map_err(|error| error.to_string())?;
    let mut names = defined(&bytes).ok_or("its symbols cannot be read")?;
    names.retain(|name| !LINKERS.contains(&name.as_str()));
    let others = names.iter().filter(|name| *name != "dunlin_driver_entry");
    let others: Vec<&str> = others.map(String::as_str).collect();
    match (names.len() - others.len(), others.as_slice()) {
        (0, _) => Err("it does not export dunlin_driver_entry".to_owned()),
        (_, []) => Ok("dunlin_driver_entry".to_owned()),
        (_, others) => {
            let shown = others
                .iter()
                .take(5)
                .copied()
                .collect::<Vec<_>>()
                .join(", ");
            Err(format!("it exports {} symbols more: {shown}", others.len()))
        }
    }
}
