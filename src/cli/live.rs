//! `kstrace live`: a session of a relay daemon, while it is recorded.

use super::report::{ShowArgs, show};
use crate::convert::{live_url, open_live};
use anyhow::{Context, Result};
use clap::{ArgMatches, Args, FromArgMatches};
use kstrace_lttng::live::{Beginning, LiveUrl, sessions};
use std::path::PathBuf;
use std::process::ExitCode;

/// Follow a session of a relay daemon, or list them.
#[derive(Args, Debug)]
pub(super) struct LiveArgs {
    /// net://HOST[:PORT]/host/TRACED_HOST/SESSION, as for babeltrace2; without the session, those
    /// of the relay daemon are listed
    #[arg(value_name = "URL", default_value = "net://localhost")]
    url: PathBuf,
    /// Begin with all that the relay daemon still has, not with what comes from now on
    #[arg(long)]
    from_start: bool,
    #[command(flatten)]
    show: ShowArgs,
}

/// Runs it.
///
/// # Errors
/// When the relay daemon cannot be reached or has no such session. What it gives that is
/// damaged is shown up to there, and the status is 1.
pub(super) fn run(matches: &ArgMatches) -> Result<ExitCode> {
    let args = LiveArgs::from_arg_matches(matches)?;
    let shown = args.url.display();
    let url = live_url(&args.url).with_context(|| {
        format!("'{shown}' is no URL of a relay daemon: wanted is net://HOST")
    })??;
    if url.session.is_none() {
        list(&url)?;
        return Ok(ExitCode::SUCCESS);
    }
    let from = match args.from_start {
        true => Beginning::Oldest,
        false => Beginning::Now,
    };
    let mut input = open_live(&url, from).with_context(|| format!("cannot follow {shown}"))?;
    show(input.as_mut(), &args.url, &args.show)
}

fn list(url: &LiveUrl) -> Result<()> {
    for session in sessions(url)? {
        let mut named = url.clone();
        let (viewers, streams) = (session.viewers, session.streams);
        named.session = Some((session.host, session.name));
        println!("{named}  {streams} streams, {viewers} viewers");
    }
    Ok(())
}
