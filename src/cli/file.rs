//! The settings file: options of the command line, written down. A flag wins over the environment, the environment over
//! the file, the file over the default.
//!
//! It knows no option by name: a key is an option's long name, below a command's table or above all of them. What no
//! command knows is refused, so that nothing is set in vain.

use super::exit::{Code, Failure, Outcome};
use clap::{Arg, ArgAction, Command};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// The environment's name for the file.
pub(super) const ENV: &str = "ROBOFLOW_CONFIG";
/// The flag.
pub(super) const FLAG: &str = "--config";
/// A settings file is smaller.
const FILE_MAX_BYTES: u64 = 1 << 20;

/// What a file says: for a command (by its path of names) or for all (empty path), each option's values.
#[derive(Debug, Default)]
pub(super) struct File {
    path: PathBuf,
    said: BTreeMap<(Vec<String>, String), Vec<String>>,
}

/// The file that the words or the environment name. The words win.
pub(super) fn named(words: &[OsString], env: Option<OsString>) -> Option<PathBuf> {
    let mut words = words.iter().skip(1);
    while let Some(word) = words.next() {
        if word == OsStr::new("--") {
            break;
        }
        if word == OsStr::new(FLAG) {
            return words.next().map(PathBuf::from);
        }
        if let Some(path) = word.to_str().and_then(|word| word.strip_prefix("--config=")) {
            return Some(PathBuf::from(path));
        }
    }
    env.filter(|path| !path.is_empty()).map(PathBuf::from)
}

impl File {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, is no TOML, or holds what is no option's value: exit 78.
    pub(super) fn read(path: &Path) -> Outcome<Self> {
        let refused = |text: String| Failure::new(Code::Config, format!("{}: {text}", path.display()));
        let size = std::fs::metadata(path).map_err(|error| refused(error.to_string()))?.len();
        if size > FILE_MAX_BYTES {
            return Err(refused(format!("it is larger than {FILE_MAX_BYTES} bytes")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
        let table: Table = toml::from_str(&text).map_err(|error| refused(error.to_string()))?;
        let mut file = Self { path: path.to_owned(), said: BTreeMap::new() };
        file.take(&[], &table).map_err(refused)?;
        Ok(file)
    }

    fn take(&mut self, command: &[String], table: &Table) -> Result<(), String> {
        for (key, value) in table {
            if let Value::Table(below) = value {
                let path = [command, std::slice::from_ref(key)].concat();
                self.take(&path, below)?;
                continue;
            }
            let values = match value {
                Value::Array(all) => all.iter().map(plain).collect(),
                one => plain(one).map(|one| vec![one]),
            };
            let values = values
                .ok_or_else(|| format!("{key}: write text, a number, true or false, or a list of them"))?;
            self.said.insert((command.to_vec(), key.clone()), values);
        }
        Ok(())
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The values of an option of a command, if the file has any: the command's own before those of all.
    pub(super) fn values(&self, command: &[String], option: &str) -> Option<&Vec<String>> {
        let own = self.said.get(&(command.to_vec(), option.to_owned()));
        own.or_else(|| self.said.get(&(Vec::new(), option.to_owned())))
    }

    /// This definition of the command line, whose defaults are the file's.
    ///
    /// # Errors
    /// When the file sets what no command has: exit 78.
    pub(super) fn as_defaults_of(&self, definition: Command) -> Outcome<Command> {
        let mut used = BTreeSet::new();
        let filled = self.fill(definition, &[], &mut used);
        let unused = self.said.keys().find(|place| !used.contains(*place));
        match unused {
            None => Ok(filled),
            Some((command, option)) => {
                let of = if command.is_empty() {
                    "any command".to_owned()
                } else {
                    format!("'roboflow {}'", command.join(" "))
                };
                Err(Failure::new(
                    Code::Config,
                    format!(
                        "{}: {option} is no option of {of}: see 'roboflow COMMAND --help'",
                        self.path.display()
                    ),
                ))
            }
        }
    }

    fn fill(
        &self,
        mut definition: Command,
        path: &[String],
        used: &mut BTreeSet<(Vec<String>, String)>,
    ) -> Command {
        let options: Vec<(clap::Id, String)> = definition
            .get_arguments()
            .filter_map(|arg| Some((arg.get_id().clone(), arg.get_long()?.to_owned())))
            .collect();
        for (id, long) in options {
            for place in [path.to_vec(), Vec::new()] {
                let place = (place, long.clone());
                if self.said.contains_key(&place) {
                    used.insert(place);
                }
            }
            if let Some(values) = self.values(path, &long) {
                definition = definition.mut_arg(id, |arg| with_default(arg, values.clone()));
            }
        }
        let below: Vec<String> = definition.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
        for name in below {
            let path = [path, std::slice::from_ref(&name)].concat();
            definition = definition.mut_subcommand(&name, |sub| self.fill(sub, &path, used));
        }
        definition
    }
}

fn with_default(arg: Arg, values: Vec<String>) -> Arg {
    let is_list = matches!(arg.get_action(), ArgAction::Append) || arg.get_value_delimiter().is_some();
    let arg = arg.required(false);
    if is_list {
        return arg.default_values(values);
    }
    match values.into_iter().next() {
        Some(value) => arg.default_value(value),
        None => arg,
    }
}

/// A value as it would be typed.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(said) => Some(said.to_string()),
        Value::Datetime(_) | Value::Array(_) | Value::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition() -> Command {
        let threads = || Arg::new("threads").long("threads").env("TEST_ROBOFLOW_NO_SUCH_THREADS");
        let flag = Arg::new("json").long("json").action(ArgAction::SetTrue);
        let pd = Arg::new("pd").long("pd").value_delimiter(',').action(ArgAction::Append);
        Command::new("roboflow")
            .arg(Arg::new("log").long("log-level").global(true).default_value("info"))
            .subcommand(Command::new("worker").arg(threads()).arg(pd).arg(flag))
            .subcommand(
                Command::new("jobs").subcommand(Command::new("list").arg(Arg::new("limit").long("limit"))),
            )
            .subcommand(Command::new("run").arg(threads().required(true)))
    }

    fn file(text: &str) -> Outcome<File> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("roboflow.toml");
        std::fs::write(&path, text).unwrap();
        File::read(&path)
    }

    fn parsed(text: &str, words: &[&str]) -> clap::ArgMatches {
        let words = std::iter::once("roboflow").chain(words.iter().copied());
        file(text).unwrap().as_defaults_of(definition()).unwrap().try_get_matches_from(words).unwrap()
    }

    fn refusal(text: &str) -> String {
        match file(text).and_then(|file| file.as_defaults_of(definition())) {
            Ok(_) => panic!("{text} was taken"),
            Err(Failure { code, error }) => {
                assert_eq!(code, Code::Config);
                error.to_string()
            }
        }
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let text = "threads = 4\nlog-level = \"debug\"\n[run]\nthreads = 2\n";
        let of = |words: &[&str]| {
            let matches = parsed(text, words);
            let (_, sub) = matches.subcommand().unwrap();
            let threads = sub.get_one::<String>("threads").unwrap().clone();
            (threads, sub.get_one::<String>("log").unwrap().clone())
        };
        assert_eq!(of(&["worker"]), ("4".to_owned(), "debug".to_owned()));
        assert_eq!(of(&["run"]), ("2".to_owned(), "debug".to_owned()), "a command's own table goes first");
        assert_eq!(
            of(&["run", "--threads", "9", "--log-level", "warn"]),
            ("9".to_owned(), "warn".to_owned())
        );
    }

    #[test]
    fn lists_flags_and_commands_of_commands_are_set() {
        let matches =
            parsed("[worker]\npd = [\"a:1\", \"b:2\"]\njson = true\n[jobs.list]\nlimit = 7\n", &["worker"]);
        let (_, worker) = matches.subcommand().unwrap();
        let pd: Vec<&str> = worker.get_many::<String>("pd").unwrap().map(String::as_str).collect();
        assert_eq!((pd, worker.get_flag("json")), (vec!["a:1", "b:2"], true));
        let matches = parsed("[jobs.list]\nlimit = 7\n", &["jobs", "list"]);
        let list = matches.subcommand().unwrap().1.subcommand().unwrap().1;
        assert_eq!(list.get_one::<String>("limit").unwrap(), "7");
    }

    #[test]
    fn what_would_be_set_in_vain_is_refused() {
        assert!(refusal("thread = 4\n").contains("thread is no option of any command"));
        assert!(refusal("[jobs.list]\nthreads = 4\n").contains("'roboflow jobs list'"));
        assert!(refusal("threads = 1979-05-27\n").contains("write text"));
        assert!(refusal("threads = \n").contains("roboflow.toml"));
        assert!(
            File::read(Path::new("/no/such/file")).unwrap_err().error.to_string().contains("/no/such/file")
        );
    }

    #[test]
    fn the_file_is_named_by_the_flag_or_the_environment() {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let env = || Some(OsString::from("env.toml"));
        assert_eq!(named(&words(&["roboflow", "worker"]), None), None);
        assert_eq!(named(&words(&["roboflow", "worker"]), env()), Some("env.toml".into()));
        assert_eq!(
            named(&words(&["roboflow", "worker", "--config", "a.toml"]), env()),
            Some("a.toml".into())
        );
        assert_eq!(named(&words(&["roboflow", "--config=b.toml", "worker"]), env()), Some("b.toml".into()));
        assert_eq!(named(&words(&["roboflow", "run", "--", "--config", "x"]), None), None);
    }
}
