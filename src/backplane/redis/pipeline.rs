//! Several commands as one write, and one answer for each of them.

use super::fault;
use crate::backplane::BackplaneError;
use fred::clients::{Client, Pipeline};
use fred::error::Error;
use fred::interfaces::ClientLike;
use fred::types::{ClusterHash, CustomCommand, Value};

/// fred answers a pipeline that failed as a whole with one error, whatever its length.
pub fn answers(
    replies: Vec<Result<Value, Error>>,
    count: usize,
) -> Result<Vec<Result<Value, BackplaneError>>, BackplaneError> {
    let complete = replies.len() == count;
    let mut answers = Vec::with_capacity(count);
    for reply in replies {
        match reply.map_err(|e| fault::judge(&e)) {
            Err(down @ BackplaneError::Down { .. }) => return Err(down),
            Err(error) if !complete => return Err(error.into_down()),
            answer => answers.push(answer),
        }
    }
    if !complete {
        return Err(BackplaneError::down(format!("{} replies to {count} commands", answers.len())));
    }
    Ok(answers)
}

/// A pipeline of commands as they are, which are sent to the server that the client is connected to.
pub async fn of_words(client: &Client, commands: &[Vec<String>]) -> Result<Pipeline<Client>, BackplaneError> {
    let pipeline = client.pipeline();
    for words in commands {
        let command = CustomCommand::new(words[0].as_str(), ClusterHash::FirstKey, false);
        let rest: Vec<Value> = words[1..].iter().map(|word| word.as_str().into()).collect();
        pipeline.custom::<(), _>(command, rest).await.map_err(|e| fault::judge(&e))?;
    }
    Ok(pipeline)
}

/// A command without arguments that fred has no name for in a pipeline.
pub fn bare(name: &'static str) -> CustomCommand {
    CustomCommand::new_static(name, None::<u16>, false)
}

/// One command with its own answer; the outer error is the connection's.
pub async fn one(client: &Client, words: &[&str]) -> Result<Result<Value, BackplaneError>, BackplaneError> {
    let words = words.iter().map(|word| word.to_string()).collect();
    let pipeline = of_words(client, &[words]).await?;
    let mut replies = answers(pipeline.try_all().await, 1)?;
    Ok(replies.pop().unwrap_or(Err(BackplaneError::down("no reply"))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fred::error::ErrorKind;

    #[test]
    fn a_short_reply_is_down() {
        let error = |text: &str| Err(Error::new(ErrorKind::Unknown, text.to_owned()));
        assert!(matches!(answers(vec![error("Request timed out.")], 2), Err(BackplaneError::Down { .. })));
        assert!(matches!(answers(vec![error("ERR x")], 2), Err(BackplaneError::Down { .. })));
        assert!(matches!(answers(vec![Ok(Value::Null)], 2), Err(BackplaneError::Down { .. })));
        let both = answers(vec![error("ERR x"), Ok(Value::Null)], 2).unwrap();
        assert!(matches!((&both[0], &both[1]), (Err(BackplaneError::Refused { .. }), Ok(Value::Null))));
        assert!(matches!(answers(vec![Ok(Value::Null), error("LOADING")], 2), Err(BackplaneError::Down { .. })));
    }
}
