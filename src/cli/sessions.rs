//! `kstrace sessions`: the sessions of the daemon, whoever made them.

use crate::control::client::Client;
use anyhow::{Result, bail};
use clap::{ArgMatches, Args, FromArgMatches, Subcommand};
use kstrace_schema::HopAccount;
use nix::unistd::{Uid, User};
use serde_json::json;
use std::fmt::Write as _;
use std::process::ExitCode;

/// List the sessions of kstraced, or end one.
#[derive(Args, Debug)]
pub(super) struct SessionsArgs {
    /// As JSON: one object a session
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Stop a session; its ring stays for those who read it
    Stop {
        /// The session's id, or so much of its beginning as only it has
        id: String,
    },
    /// End a session and free all it holds
    Destroy {
        /// The session's id, or so much of its beginning as only it has
        id: String,
    },
}

/// Runs it.
///
/// # Errors
/// When no daemon can be reached, or it refuses.
pub(super) fn run(matches: &ArgMatches) -> Result<ExitCode> {
    let args = SessionsArgs::from_arg_matches(matches)?;
    let mut client = Client::connect()?;
    match &args.action {
        None => list(&mut client, args.json)?,
        Some(Action::Stop { id }) => {
            let id = full_id(&mut client, id)?;
            stop(&mut client, &id)?;
        }
        Some(Action::Destroy { id }) => {
            let id = full_id(&mut client, id)?;
            client.destroy_session(&id)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(client: &mut Client, as_json: bool) -> Result<()> {
    let mut text = String::new();
    for s in client.list_sessions()? {
        if as_json {
            let line = json!({
                "session": s.session, "state": s.state, "detached": s.detached, "owner": s.owner,
            });
            writeln!(text, "{line}")?;
        } else {
            let detached = if s.detached { "detached" } else { "attached" };
            writeln!(
                text,
                "{} {:8} {detached} {}",
                s.session,
                s.state,
                user_name(s.owner)
            )?;
        }
    }
    super::output::print(&text)
}

fn stop(client: &mut Client, id: &str) -> Result<()> {
    let stopped = client.stop_session(id)?;
    for problem in &stopped.problems {
        eprintln!("kstrace: {problem}");
    }
    let lost: u64 = stopped
        .accounts
        .into_iter()
        .filter_map(|a| serde_json::from_value::<HopAccount>(a).ok())
        .map(|a| a.dropped_total())
        .sum();
    if lost > 0 {
        eprintln!("kstrace: session {id} lost {lost} records");
    }
    Ok(())
}

fn full_id(client: &mut Client, beginning: &str) -> Result<String> {
    let mut found: Vec<String> = client
        .list_sessions()?
        .into_iter()
        .map(|s| s.session)
        .filter(|id| id.starts_with(beginning))
        .collect();
    match (found.pop(), found.len()) {
        (Some(id), 0) => Ok(id),
        (Some(_), others) => bail!("{} sessions begin with '{beginning}'", others + 1),
        (None, _) => bail!("there is no session '{beginning}'"),
    }
}

fn user_name(uid: i64) -> String {
    u32::try_from(uid)
        .ok()
        .and_then(|uid| User::from_uid(Uid::from_raw(uid)).ok().flatten())
        .map_or_else(|| uid.to_string(), |user| user.name)
}
