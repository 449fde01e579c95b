//! Running one script on one object.
//!
//! The language is Luau: Lua 5.1, as in Argo CD, with a sandbox of its own. Each run has a fresh state without files,
//! programs, environment, other code to load, or output; at most [`TIME_LIMIT`], [`MEMORY_LIMIT`], and the depth of calls
//! that Luau allows (200 C calls, 20,000 Lua calls). The deadline is checked at each call and loop, also within text
//! patterns, so nothing outlasts it, and a script that catches the error is stopped again at its next step.

use std::time::{Duration, Instant};

use mlua::{
    Error, Lua, LuaOptions, LuaSerdeExt, StdLib, Value as LuaValue, VmState, serde::SerializeOptions,
};
use serde_json::Value;

use super::{Script, continues};
use crate::api::{HealthStatus, HealthStatusCode};

/// How long a script may run.
const TIME_LIMIT: Duration = Duration::from_secs(1);
/// How much memory a script may take, with the object that it judges.
const MEMORY_LIMIT: usize = 64 << 20;
/// How long a script may be.
const MAX_BYTES: usize = 256 << 10;
/// How long a message may become.
const MAX_MESSAGE_BYTES: usize = 4 << 10;
const CHUNK: &str = "health.lua";

/// The functions of the base library that no script may use: they load other code, or look at the process.
const FORBIDDEN: &[&str] = &[
    "loadstring",
    "load",
    "loadfile",
    "dofile",
    "collectgarbage",
    "gcinfo",
    "newproxy",
    "_printregs",
    "module",
];

/// What is wrong with a text, if it is not Lua: the line and the message.
pub(super) fn check(source: &str) -> Result<(), (Option<usize>, String)> {
    let source = prepare(source).map_err(|message| (None, message))?;
    let lua = Lua::new_with(StdLib::NONE, LuaOptions::new()).map_err(|error| (None, describe(&error)))?;
    let compiled = lua.load(source.as_ref()).set_name(format!("={CHUNK}")).into_function();
    compiled.map(drop).map_err(|error| {
        let message = describe(&error);
        let place = message.strip_prefix(CHUNK).and_then(|rest| rest.strip_prefix(':'));
        match place.and_then(|rest| rest.split_once(':')) {
            Some((line, what)) => (line.parse().ok(), what.trim().to_owned()),
            None => (None, message),
        }
    })
}

/// Judges an object. `None` when the script returns nothing.
pub(super) fn run(script: &Script, object: &Value) -> Result<Option<HealthStatus>, String> {
    let source = prepare(&script.source)?;
    evaluate(&source, script.open_libraries, object)
        .map_err(|error| describe(&error))
        .and_then(|outcome| outcome)
}

fn prepare(source: &str) -> Result<std::borrow::Cow<'_, str>, String> {
    if source.len() > MAX_BYTES {
        return Err(format!("the script is longer than {MAX_BYTES} bytes"));
    }
    continues::rewrite(source)
}

fn evaluate(
    source: &str,
    open_libraries: bool,
    object: &Value,
) -> mlua::Result<Result<Option<HealthStatus>, String>> {
    let lua =
        Lua::new_with(StdLib::TABLE | StdLib::OS | text_and_numbers(open_libraries), LuaOptions::new())?;
    lua.set_memory_limit(MEMORY_LIMIT)?;
    restrict(&lua, open_libraries)?;
    let options = SerializeOptions::new()
        .set_array_metatable(false)
        .serialize_none_to_null(false)
        .serialize_unit_to_null(false);
    lua.globals().set("obj", lua.to_value_with(object, options)?)?;
    lua.globals().set("actionParams", lua.create_table()?)?;
    lua.sandbox(true)?;
    let deadline = Instant::now() + TIME_LIMIT;
    lua.set_interrupt(move |_| match Instant::now() < deadline {
        true => Ok(VmState::Continue),
        false => Err(Error::runtime(format!("the script ran longer than {} s", TIME_LIMIT.as_secs()))),
    });
    let returned: mlua::MultiValue = lua.load(source).set_name(format!("={CHUNK}")).call(())?;
    Ok(verdict(&lua, returned.into_iter().next_back()))
}

fn text_and_numbers(open: bool) -> StdLib {
    if open { StdLib::STRING | StdLib::MATH | StdLib::COROUTINE | StdLib::BIT } else { StdLib::NONE }
}

/// Leaves only what a script may use. `os` tells the time and nothing else; without open libraries it has to be asked
/// for by `require`, as in Argo CD.
fn restrict(lua: &Lua, open_libraries: bool) -> mlua::Result<()> {
    let globals = lua.globals();
    for name in FORBIDDEN {
        globals.set(*name, LuaValue::Nil)?;
    }
    let all: mlua::Table = globals.get("os")?;
    let os = lua.create_table()?;
    let allowed: &[&str] =
        if open_libraries { &["time", "date", "clock", "difftime"] } else { &["time", "date"] };
    for name in allowed {
        os.set(*name, all.get::<LuaValue>(*name)?)?;
    }
    globals.set("os", if open_libraries { LuaValue::Table(os.clone()) } else { LuaValue::Nil })?;
    let modules = lua.create_table()?;
    modules.set("os", os)?;
    for name in ["table", "string", "math", "coroutine"] {
        modules.set(name, globals.get::<LuaValue>(name)?)?;
    }
    let require =
        lua.create_function(move |_, name: String| match modules.get::<LuaValue>(name.as_str())? {
            LuaValue::Nil => {
                Err(Error::runtime(format!("module {name} not found: it is none that a script may use")))
            }
            module => Ok(module),
        })?;
    globals.set("require", require)?;
    globals.set("print", lua.create_function(|_, _: mlua::MultiValue| Ok(()))?)
}

fn verdict(lua: &Lua, returned: Option<LuaValue>) -> Result<Option<HealthStatus>, String> {
    let table = match returned {
        None | Some(LuaValue::Nil) => return Ok(None),
        Some(LuaValue::Table(table)) => table,
        Some(other) => return Err(format!("expect table output from Lua script, not {}", other.type_name())),
    };
    let invalid = || HealthStatus::new(HealthStatusCode::Unknown, "Lua returned an invalid health status");
    let text = |name: &str| match table.raw_get::<LuaValue>(name) {
        Ok(LuaValue::Nil) => Some(String::new()),
        Ok(value @ LuaValue::String(_)) => lua.from_value::<String>(value).ok(),
        _ => None,
    };
    let (Some(status), Some(mut message)) = (text("status"), text("message")) else {
        return Ok(Some(invalid()));
    };
    if message.len() > MAX_MESSAGE_BYTES {
        let fits = |(start, character): &(usize, char)| start + character.len_utf8() <= MAX_MESSAGE_BYTES;
        message = message.char_indices().take_while(fits).map(|(_, character)| character).collect();
    }
    Ok(Some(status.parse().map_or_else(|_| invalid(), |code| HealthStatus::new(code, message))))
}

/// The first line of an error: what Lua adds to it is where it was called from, which is always the same.
fn describe(error: &Error) -> String {
    let text = match error {
        Error::RuntimeError(message) | Error::SyntaxError { message, .. } => message.clone(),
        Error::MemoryError(_) => format!("the script needs more memory than {} MiB", MEMORY_LIMIT >> 20),
        Error::CallbackError { cause, .. } => return describe(cause),
        other => other.to_string(),
    };
    text.lines().next().unwrap_or_default().to_owned()
}
