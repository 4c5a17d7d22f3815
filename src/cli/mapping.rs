//! The mapping of a dataset: read from a file, or inferred from its first recording. The same for every command that makes one.

use super::exit::{Code, Failure, OrExit, Outcome};
use super::output::notice;
use super::work_failure;
use crate::convert::infer::infer_first;
use crate::convert::mapping::{MAPPING_BYTES_MAX, Mapping};
use crate::storage::SharedStorage;
use crate::work::StopFlag;
use std::fs;
use std::path::Path;

/// Reads a mapping file and checks it.
///
/// # Errors
/// When it is not there, or no mapping.
pub(crate) fn read(path: &Path) -> Outcome<String> {
    let shown = path.display().to_string();
    let bytes =
        fs::metadata(path).map_err(|error| Failure::new(Code::NoInput, format!("{shown}: {error}")))?.len();
    if bytes > MAPPING_BYTES_MAX as u64 {
        let text = format!("{shown}: {bytes} bytes are no mapping file: it has at most 1 MiB");
        return Err(Failure::new(Code::Config, text));
    }
    let text =
        fs::read_to_string(path).map_err(|error| Failure::new(Code::NoInput, format!("{shown}: {error}")))?;
    let mapping = Mapping::parse(&shown, &text).or_exit(Code::Config)?;
    Ok(mapping.text)
}

/// Infers a mapping from the first recording and shows it.
///
/// # Errors
/// When the recording cannot be read, or nothing can be made of it.
pub(crate) fn infer_from(storage: SharedStorage, first: &str, stop: &StopFlag) -> Outcome<String> {
    let inferred = infer_first(storage, first, stop).map_err(work_failure)?;
    let notes: String = inferred.notes.iter().map(|note| format!("\n  {note}")).collect();
    notice(&format!(
        "no --mapping: inferred this one from {first}, and saved it with the dataset{notes}\n\n{}",
        inferred.mapping_text
    ));
    Ok(inferred.mapping_text)
}
