//! Sending several commands as one write, and one answer for each.

use super::connection::Connection;
use super::fault;
use crate::backplane::BackplaneError;
use fred::clients::{Client, Pipeline};
use fred::error::Error;
use fred::interfaces::ClientLike;
use fred::types::{ClusterHash, CustomCommand, Value};

/// Sends what waits in a pipeline; as many answers as commands, or `Down`.
///
/// fred flushes the socket after each command, unless it knows of one that follows the whole pipeline: a `PING` does,
/// and so a hundred commands take one `write` here and one `read` there.
pub async fn send(
    connection: &Connection,
    pipeline: Pipeline<Client>,
    commands: usize,
) -> Result<Vec<Result<Value, BackplaneError>>, BackplaneError> {
    if commands < 2 || !connection.may_ping() {
        return answers(pipeline.try_all().await, commands);
    }
    // Both are queued before fred's task looks at either.
    let (replies, pong) = tokio::join!(pipeline.try_all(), connection.client.ping::<Value>(None));
    if pong.is_err_and(|error| fault::is_for_good(&fault::text(&error))) {
        // Each further try would be an entry in the server's ACL log.
        connection.forbid_ping();
    }
    answers(replies, commands)
}

/// fred answers a pipeline that failed as a whole with one error, whatever its length.
fn answers(
    replies: Vec<Result<Value, Error>>,
    count: usize,
) -> Result<Vec<Result<Value, BackplaneError>>, BackplaneError> {
    let complete = replies.len() == count;
    let mut answers = Vec::with_capacity(count);
    for reply in replies {
        match reply.map_err(|e| fault::judge(&e)) {
            Err(BackplaneError::Down(why)) => return Err(BackplaneError::Down(why)),
            Err(error) if !complete => return Err(BackplaneError::Down(fault::reason(error))),
            answer => answers.push(answer),
        }
    }
    if !complete {
        return Err(BackplaneError::Down(format!("{} replies to {count} commands", answers.len())));
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

/// One command with its own answer; the outer error is the connection's.
pub async fn one(client: &Client, words: &[&str]) -> Result<Result<Value, BackplaneError>, BackplaneError> {
    let words = words.iter().map(|word| word.to_string()).collect();
    let pipeline = of_words(client, &[words]).await?;
    let mut replies = answers(pipeline.try_all().await, 1)?;
    Ok(replies.pop().unwrap_or(Err(BackplaneError::Down("no reply".into()))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fred::error::ErrorKind;

    #[test]
    fn a_short_reply_is_down() {
        let error = |text: &str| Err(Error::new(ErrorKind::Unknown, text.to_owned()));
        assert!(matches!(answers(vec![error("Request timed out.")], 2), Err(BackplaneError::Down(_))));
        assert!(matches!(answers(vec![error("ERR x")], 2), Err(BackplaneError::Down(_))));
        assert!(matches!(answers(vec![Ok(Value::Null)], 2), Err(BackplaneError::Down(_))));
        let both = answers(vec![error("ERR x"), Ok(Value::Null)], 2).unwrap();
        assert!(matches!((&both[0], &both[1]), (Err(BackplaneError::Refused(_)), Ok(Value::Null))));
        assert!(matches!(answers(vec![Ok(Value::Null), error("LOADING")], 2), Err(BackplaneError::Down(_))));
    }
}
