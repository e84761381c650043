//! Files that are read again when they change: keys, certificates, operators' tokens.
//!
//! Contents are compared, not times, which may stay the same when a secret is mounted anew; a link that is switched is
//! seen, too. What files mean is for those who ask.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why a file cannot be read; names it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    #[error("{path}: {why}", path = path.display())]
    Unreadable { path: PathBuf, why: String },
    #[error("{path}: it has {bytes} bytes; {most} are allowed", path = path.display())]
    TooLarge { path: PathBuf, bytes: u64, most: u64 },
}

/// The bytes of each file, in their order.
pub type Contents = Arc<[Vec<u8>]>;

/// Files that are looked at once a second.
#[derive(Clone, Debug)]
pub struct FileWatch {
    files: Arc<[PathBuf]>,
    most_bytes: u64,
    seen: Contents,
    /// Why they could not be read lately; told once, not at each look.
    trouble: Option<FileError>,
}

impl FileWatch {
    /// Reads the files, of which none may be larger than `most_bytes`.
    pub fn new(files: &[PathBuf], most_bytes: u64) -> Result<FileWatch, FileError> {
        let seen = read_all(files, most_bytes)?;
        Ok(FileWatch { files: files.into(), most_bytes, seen, trouble: None })
    }

    /// Which files are looked at.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// What was read last.
    pub fn contents(&self) -> &Contents {
        &self.seen
    }

    /// Waits until there are other contents, or until the files cannot be read for another reason than before. Cancel safe.
    pub async fn changed(&mut self) -> Result<Contents, FileError> {
        loop {
            sleep(LOOK_EVERY).await;
            let (files, most_bytes) = (self.files.clone(), self.most_bytes);
            // A file system may hang; the threads of clients must not.
            let looked = spawn_blocking(move || read_all(&files, most_bytes)).await;
            // The runtime ends.
            let Ok(read) = looked else { return std::future::pending().await };
            let known = self.trouble.take();
            match read {
                Ok(contents) if contents == self.seen => {}
                Ok(contents) => {
                    self.seen = contents.clone();
                    return Ok(contents);
                }
                Err(error) => {
                    self.trouble = Some(error.clone());
                    if known.as_ref() != Some(&error) {
                        return Err(error);
                    }
                }
            }
        }
    }
}

fn read_all(files: &[PathBuf], most: u64) -> Result<Contents, FileError> {
    files.iter().map(|file| read(file, most)).collect()
}

fn read(path: &PathBuf, most: u64) -> Result<Vec<u8>, FileError> {
    let unreadable = |error: std::io::Error| FileError::Unreadable { path: path.clone(), why: error.to_string() };
    match std::fs::metadata(path).map_err(unreadable)?.len() {
        bytes if bytes > most => Err(FileError::TooLarge { path: path.clone(), bytes, most }),
        _ => std::fs::read(path).map_err(unreadable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two files in a folder of the test's own.
    fn files() -> [PathBuf; 2] {
        let folder = std::env::temp_dir().join(format!("fantail-watch-{}-{}", std::process::id(), fastrand::u64(..)));
        std::fs::create_dir(&folder).unwrap();
        ["a", "b"].map(|name| folder.join(name))
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_and_a_trouble_are_told_once() {
        let files = files();
        files.iter().for_each(|file| std::fs::write(file, "1").unwrap());
        let mut watch = FileWatch::new(&files, 3).unwrap();
        assert_eq!(watch.contents()[..], [b"1".to_vec(), b"1".to_vec()]);
        std::fs::write(&files[1], "2").unwrap();
        assert_eq!(watch.changed().await.unwrap()[1], b"2");
        std::fs::write(&files[1], "long").unwrap();
        let large = watch.changed().await.unwrap_err();
        assert_eq!(large.to_string(), format!("{}: it has 4 bytes; 3 are allowed", files[1].display()));
        std::fs::remove_file(&files[1]).unwrap();
        let gone = watch.changed().await.unwrap_err();
        assert!(gone.to_string().starts_with(&files[1].display().to_string()), "{gone}");
        // Neither the same trouble nor what was there before is news.
        let news = tokio::select! {
            news = watch.changed() => Some(news),
            () = sleep(LOOK_EVERY * 2) => None,
        };
        assert_eq!(news, None);
        std::fs::write(&files[1], "2").unwrap();
        std::fs::write(&files[0], "3").unwrap();
        assert_eq!(watch.changed().await.unwrap()[..], [b"3".to_vec(), b"2".to_vec()]);
        std::fs::remove_dir_all(files[0].parent().unwrap()).unwrap();
    }
}
