//! Random specifications and random options: our check against the real `AnsibleModule`, message for message.
//!
//! Needs ansible-core 2.19 in `.venv` of the repository, or at `LUSTRE_ANSIBLE_VENV`; `ansible-modules/ci.sh` makes it.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use lustre_modules::argspec::{Argument, ArgumentSpec, ArgumentType, Relations, RequiredIf};
use lustre_modules::stubs::keyword_arguments;
use serde_json::{Map, Value, json};

const CASES: u64 = 20_000;

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn random_options_get_the_answers_of_the_real_ansible_module() {
    let seed = std::env::var("SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(20_261_019);
    let cases: Vec<_> = (0..CASES).map(|n| Case::random(&mut Random(seed + n * 7919))).collect();
    let answers = ask_ansible(&cases);
    let (mut refused, mut accepted) = (0, 0);
    for (n, (case, theirs)) in cases.iter().zip(&answers).enumerate() {
        if theirs.get("fault").is_some() {
            continue;
        }
        let ours = case.answer();
        assert_eq!(
            normal(&ours),
            normal(theirs),
            "case {n} of seed {seed}\nspec {}\nargs {}",
            json!(keyword_arguments(&case.spec)),
            json!(case.args)
        );
        if ours.get("msg").is_some() { refused += 1 } else { accepted += 1 }
    }
    println!("{refused} refused and {accepted} accepted alike, of {CASES}");
    assert!(refused > CASES / 5 && accepted > CASES / 5, "the generator lost its balance: {refused} {accepted}");
}

fn ask_ansible(cases: &[Case]) -> Vec<Value> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let venv = std::env::var_os("LUSTRE_ANSIBLE_VENV").map_or_else(|| root.join(".venv"), PathBuf::from);
    let mut python = Command::new(venv.join("bin/python"))
        .arg(root.join("ansible-modules/tests/ansible_module_twin.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("no python in {}: {error}; run ansible-modules/ci.sh venv", venv.display()));
    let mut to = python.stdin.take().unwrap();
    let lines: Vec<_> =
        cases.iter().map(|c| json!({"spec": keyword_arguments(&c.spec), "args": c.args}).to_string()).collect();
    let writer = std::thread::spawn(move || lines.iter().try_for_each(|line| writeln!(to, "{line}")));
    let from = BufReader::new(python.stdout.take().unwrap());
    let answers: Vec<_> = from.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    writer.join().unwrap().unwrap();
    assert!(python.wait().unwrap().success());
    assert_eq!(answers.len(), cases.len());
    answers
}

/// Takes out what has no order in Python: the set of valid booleans; and which level's options a message about
/// unsupported ones of several levels lists.
fn normal(answer: &Value) -> Value {
    let mut answer = answer.clone();
    drop_aliases(&mut answer);
    if let Some(Value::String(message)) = answer.get_mut("msg") {
        if let Some(at) = message.find("Valid booleans include: ") {
            message.truncate(at);
        }
        if let Some(at) = message.find(". Supported parameters include: ").filter(|at| message[..*at].contains('.')) {
            message.truncate(at);
        }
    }
    answer
}

/// In Python an alias shares the value of its option, converted or not; nobody reads it there.
fn drop_aliases(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(drop_aliases),
        Value::Object(map) => {
            map.retain(|key, _| !key.ends_with("_too"));
            map.values_mut().for_each(drop_aliases);
        }
        _ => {}
    }
}

struct Case {
    spec: ArgumentSpec,
    args: Map<String, Value>,
}

impl Case {
    fn random(random: &mut Random) -> Self {
        let spec = random.spec(2);
        let args = random.options(&spec);
        Self { spec, args }
    }

    fn answer(&self) -> Value {
        // The name that AnsibleModule has in a test.
        let (mut answer, mut warnings) = match self.spec.validate("basic.py", self.args.clone(), false) {
            Ok(validated) => (json!({"params": validated.params}), validated.warnings),
            Err(rejection) => {
                let mut message = Value::from(rejection.message);
                lustre_modules::contract::scrub(&mut message, &rejection.secrets);
                return json!({ "msg": message });
            }
        };
        warnings.sort();
        answer["warnings"] = json!(warnings);
        answer
    }
}

/// SplitMix64: the same cases on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    fn spec(&mut self, depth: usize) -> ArgumentSpec {
        let arguments: Vec<_> = ["alpha", "beta", "gamma", "delta", "state"][..2 + self.below(4)]
            .iter()
            .map(|name| self.argument(name, depth))
            .collect();
        let names: Vec<String> = arguments.iter().map(|a| a.name.clone()).collect();
        let mut relations = Relations::default();
        if self.one_in(5) {
            relations.mutually_exclusive.push(self.some(&names));
        }
        if self.one_in(5) {
            relations.required_together.push(self.some(&names));
        }
        if self.one_in(5) {
            relations.required_one_of.push(self.some(&names));
        }
        if self.one_in(4) {
            let argument = self.pick(&arguments);
            let value = self.value(&argument, 1);
            let (requires, any) = (self.some(&names), self.one_in(2));
            // A rule compares with a choice or a truth value. Python's 1 == 1.0 == True is nothing to build on.
            if value.is_string() || value.is_boolean() && argument.kind == ArgumentType::Bool {
                relations.required_if.push(RequiredIf { parameter: argument.name, value, requires, any });
            }
        }
        if self.one_in(6) {
            let option = self.pick(&names);
            relations.required_by.push((option, self.some(&names)));
        }
        ArgumentSpec::new(arguments).with(relations)
    }

    fn some(&mut self, names: &[String]) -> Vec<String> {
        let first = self.below(names.len());
        (0..2.min(names.len())).map(|n| names[(first + n) % names.len()].clone()).collect()
    }

    fn argument(&mut self, name: &str, depth: usize) -> Argument {
        use ArgumentType::{Bool, Dict, Int, List, Path, Raw, Str};
        let kind = self.pick(&[Str, Str, Str, Path, Int, Int, Bool, List, List, Dict, Raw]);
        let mut argument = Argument::new(name, kind);
        if kind == List && !self.one_in(4) {
            argument.elements = Some(self.pick(&[Str, Int, Bool, Dict, Dict, Raw, Path]));
        }
        let of_dicts = kind == Dict || argument.elements == Some(Dict);
        if of_dicts && depth > 0 && !self.one_in(3) {
            argument.options = Some(self.spec(depth - 1));
        }
        if kind == Str && self.one_in(3) || argument.elements == Some(Str) && self.one_in(3) {
            let choices: &[&str] =
                self.pick(&[&["present", "absent"][..], &["yes", "no", "auto"], &["on", "off", "0"]]);
            argument = argument.choices(choices.iter().copied());
        }
        if self.one_in(4) {
            argument = argument.alias(&format!("{name}_too"));
        }
        if self.one_in(6) {
            argument = argument.required();
        } else if self.one_in(4) {
            argument.default = match kind {
                Str => Some(argument.choices.first().map_or(json!("five"), |c| json!(c))),
                Path => Some(json!("/tmp/$LUSTRE_NOT_SET/x")),
                Int => Some(json!(5)),
                Bool => Some(json!(true)),
                _ => None,
            };
        }
        if self.one_in(8) && !of_dicts && argument.default.is_none() {
            argument = argument.secret();
        }
        argument
    }

    fn options(&mut self, spec: &ArgumentSpec) -> Map<String, Value> {
        let mut out = Map::new();
        for argument in &spec.arguments {
            for name in std::iter::once(&argument.name).chain(&argument.aliases) {
                let usual = name == &argument.name;
                if usual && !self.one_in(4) || !usual && self.one_in(4) {
                    let value = match argument.no_log {
                        // A secret that is one letter would be scrubbed out of every word, and nothing be left to compare.
                        Some(true) => {
                            self.pick(&[json!("hunter-22"), json!(["hunter-22", "hunter-22-long"]), json!(47_114_711)])
                        }
                        _ if self.one_in(6) => self.nonsense(2),
                        _ => self.value(argument, 2),
                    };
                    out.insert(name.clone(), value);
                }
            }
        }
        if self.one_in(12) {
            out.insert("bogus".to_owned(), json!(1));
        }
        out
    }

    /// A value that the option may well take.
    fn value(&mut self, argument: &Argument, depth: usize) -> Value {
        if !argument.choices.is_empty() && argument.kind == ArgumentType::Str && !self.one_in(4) {
            return json!(self.pick(&argument.choices));
        }
        self.value_of(argument.kind, argument, depth)
    }

    fn value_of(&mut self, kind: ArgumentType, argument: &Argument, depth: usize) -> Value {
        match kind {
            ArgumentType::Str | ArgumentType::Raw => {
                self.pick(&[json!("demo"), json!(""), json!(7), json!(true), json!("True"), json!("False"), json!(2.5)])
            }
            ArgumentType::Path => self.pick(&[
                json!("/dev/sdb"),
                json!("~/x"),
                json!("~root/y"),
                json!("$HOME/${HOME}$"),
                json!("~nobody-here"),
            ]),
            ArgumentType::Int => self.pick(&[
                json!(3),
                json!("12"),
                json!(" -4 "),
                json!("1_000"),
                json!("1e3"),
                json!("2.0"),
                json!("2.5"),
                json!(2.0),
                json!(2.5),
                json!(true),
                json!("abc"),
                json!("+.5e1"),
                json!("-0"),
                json!("18446744073709551615"),
                json!("1."),
            ]),
            ArgumentType::Bool => self.pick(&[
                json!(true),
                json!("yes"),
                json!(" Off "),
                json!(1),
                json!(0.0),
                json!("maybe"),
                json!("T"),
                json!("1"),
                json!(2),
                json!(1.5),
            ]),
            ArgumentType::List => match argument.elements {
                Some(kind) => {
                    if self.one_in(6) {
                        return self.pick(&[json!("a,b"), json!("present"), json!("1,2"), json!(4)]);
                    }
                    (0..self.below(3)).map(|_| self.value_of(kind, argument, depth)).collect()
                }
                None => self.pick(&[json!(["a", 1]), json!("a, b,c"), json!(1.5), json!([])]),
            },
            ArgumentType::Dict => match &argument.options {
                Some(spec) if depth > 0 && !self.one_in(8) => Value::Object(self.options(spec)),
                _ => self.pick(&[
                    json!({}),
                    json!({"alpha": "x"}),
                    json!("alpha=1, beta=\"2 3\""),
                    json!("{\"alpha\": \"7\"}"),
                    json!("a b=1"),
                    json!("alpha"),
                    json!("{nonsense"),
                ]),
            },
        }
    }

    /// Anything.
    fn nonsense(&mut self, depth: usize) -> Value {
        match self.below(if depth == 0 { 5 } else { 8 }) {
            0 | 1 => Value::Null,
            2 => self.pick(&[json!(-1), json!(0), json!(1e17), json!(1e-7), json!(123_456_789.0), json!(0.1)]),
            3 => {
                self.pick(&[json!("it's"), json!("a \"b\" 'c'\n\t\\"), json!("é\u{200b}\u{7f}𝄞\u{301}"), json!("k=v")])
            }
            4 => json!(self.one_in(2)),
            5 | 6 => (0..self.below(3)).map(|_| self.nonsense(depth - 1)).collect(),
            _ => json!({ "alpha": self.nonsense(depth - 1), "q'": self.nonsense(depth - 1) }),
        }
    }
}
