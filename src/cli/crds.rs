//! `skiff crds`: prints the CustomResourceDefinitions, or writes them to a directory.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::{
    api::crd::definitions,
    error::{Classified, ErrorKind},
};

/// The options of `skiff crds`.
#[derive(Debug, clap::Args)]
pub struct CrdsOptions {
    /// Write one file per definition into this directory instead of printing them
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// Why the definitions could not be written.
#[derive(Debug, thiserror::Error)]
pub enum CrdsError {
    /// Standard output is gone.
    #[error("cannot print the definitions")]
    Print(#[source] io::Error),
    /// A file or its directory cannot be written.
    #[error("cannot write {path}: choose a directory that you may write to")]
    Write {
        /// The file or directory.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Classified for CrdsError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Configuration
    }
}

/// Prints or writes the definitions.
///
/// # Errors
/// When the output cannot be written.
pub fn run(options: &CrdsOptions, output: &mut dyn Write) -> Result<(), CrdsError> {
    match &options.output {
        None => print(output).map_err(CrdsError::Print),
        Some(directory) => {
            at(directory, fs::create_dir_all(directory))?;
            for definition in definitions() {
                let path = directory.join(definition.file_name);
                at(&path, fs::write(&path, definition.to_yaml()))?;
                writeln!(output, "{}", path.display()).map_err(CrdsError::Print)?;
            }
            Ok(())
        }
    }
}

fn print(output: &mut dyn Write) -> io::Result<()> {
    for (index, definition) in definitions().iter().enumerate() {
        if index > 0 {
            writeln!(output, "---")?;
        }
        write!(output, "{}", definition.to_yaml())?;
    }
    Ok(())
}

fn at(path: &Path, result: io::Result<()>) -> Result<(), CrdsError> {
    result.map_err(|source| CrdsError::Write { path: path.display().to_string(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_gets_one_file_per_definition() {
        let directory = tempfile::tempdir().unwrap();
        let output = directory.path().join("deploy/crds");
        run(&CrdsOptions { output: Some(output.clone()) }, &mut Vec::new()).unwrap();
        for definition in definitions() {
            assert_eq!(fs::read_to_string(output.join(definition.file_name)).unwrap(), definition.to_yaml());
        }
    }

    #[test]
    fn printing_gives_one_stream_of_documents() {
        let mut printed = Vec::new();
        run(&CrdsOptions { output: None }, &mut printed).unwrap();
        let printed = String::from_utf8(printed).unwrap();
        assert_eq!(printed.split("\n---\n").count(), definitions().len());
    }
}
