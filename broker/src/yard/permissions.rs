//! Who may say and hear what on NATS, as a part of nats-server's own configuration. Pure.

use pullyard_schemas::Scope;
use pullyard_worker::transport::nats::Names;

/// The users of a fleet. That private jobs stay private does not rest on workers that behave: the server lets nobody
/// hear of a local lane who signs in as a cloud worker.
#[must_use]
pub fn permissions(prefix: &str) -> String {
    let names = Names::new(prefix);
    let everywhere = |name: &str| format!("{}.>", names.inbox(name));
    let broker = User {
        name: format!("{prefix}-broker"),
        password: "PULLYARD_BROKER_PASSWORD",
        about: "The broker: makes the streams, and answers everybody.",
        publish: vec![names.all(), "$JS.API.>".into(), "$JS.ACK.>".into(), names.all_cards(), everywhere("local"), everywhere("cloud")],
        subscribe: vec![names.all(), names.all_cards(), everywhere("broker")],
        answers: false,
    };
    let local = worker(&names, prefix, "local", &[Scope::Any, Scope::Local], "PULLYARD_LOCAL_PASSWORD", "Workers on your own machines.");
    let about = "Workers elsewhere: they get nothing of jobs that must stay local.";
    let cloud = worker(&names, prefix, "cloud", &[Scope::Any], "PULLYARD_CLOUD_PASSWORD", about);
    format!(
        "# For nats-server: who may do what in the yard `{prefix}`. Made by `pullyard nats permissions`.\n\
         # Put it into a file and `include` that in the server's own configuration, which also turns JetStream on:\n\
         #\n\
         #   jetstream {{ store_dir: /var/lib/nats }}\n\
         #   include pullyard.conf\n\
         #\n\
         # The passwords are read from the server's environment. One that does not begin with a letter has to have double\n\
         # quotes within the variable's value, because nats-server would read a number: '\"1a2b\"'.\n\
         authorization {{\n  users = [\n{}{}{}  ]\n}}\n",
        broker.text(),
        local.text(),
        cloud.text()
    )
}

fn worker(names: &Names, prefix: &str, role: &str, scopes: &[Scope], password: &'static str, about: &'static str) -> User {
    let mut publish = vec![names.hello(), names.quota(), names.all_words(), names.all_output(), names.all_beats(), names.all_cards()];
    let mut subscribe = vec![format!("{}.>", names.inbox(role)), names.all_controls()];
    for scope in scopes {
        let lanes = names.lanes(*scope);
        publish.extend([names.body(*scope), format!("$JS.API.CONSUMER.MSG.NEXT.{lanes}.*"), format!("$JS.ACK.{lanes}.>")]);
        subscribe.push(names.all_bells(*scope));
    }
    // Workers answer what they are told to do, and can send to nobody's inbox otherwise.
    User { name: format!("{prefix}-{role}"), password, about, publish, subscribe, answers: true }
}

struct User {
    name: String,
    /// The variable that has it.
    password: &'static str,
    about: &'static str,
    publish: Vec<String>,
    subscribe: Vec<String>,
    answers: bool,
}

impl User {
    fn text(&self) -> String {
        let list = |subjects: &[String]| subjects.iter().map(|s| format!("          \"{s}\"\n")).collect::<String>();
        let answers = if self.answers { "        allow_responses: true\n" } else { "" };
        format!(
            "    # {}\n    {{\n      user: \"{}\"\n      password: ${}\n      permissions {{\n        publish {{ allow: [\n{}        ] }}\n        subscribe {{ allow: [\n{}        ] }}\n{answers}      }}\n    }}\n",
            self.about,
            self.name,
            self.password,
            list(&self.publish),
            list(&self.subscribe)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The part of one user.
    fn of(text: &str, user: &str) -> String {
        let from = text.find(&format!("user: \"{user}\"")).unwrap();
        let rest = &text[from..];
        rest[..rest.find("\n    }\n").unwrap()].to_owned()
    }

    #[test]
    fn a_cloud_worker_hears_nothing_that_is_local() {
        let text = permissions("yard");
        let cloud = of(&text, "yard-cloud");
        let allowed: Vec<&str> = cloud.lines().filter(|line| line.trim().starts_with('"')).collect();
        assert!(allowed.len() > 10 && allowed.iter().all(|line| !line.to_lowercase().contains("local")), "{cloud}");
        // A wildcard could hold what is not named.
        for wide in ["\"yard.>\"", "\"yard.v1.>\"", "$JS.API.>", "$JS.API.CONSUMER.MSG.NEXT.*", "$JS.ACK.>", "\"_INBOX.>\"", "\">\""] {
            assert!(!cloud.contains(wide), "{wide}: {cloud}");
        }
        assert!(cloud.contains("\"$JS.API.CONSUMER.MSG.NEXT.YARD_v1_LANES_ANY.*\"") && cloud.contains("\"yard.v1.bell.any.>\""), "{cloud}");
    }

    #[test]
    fn everybody_hears_only_the_own_inbox() {
        let text = permissions("yard");
        for (user, own) in [("yard-broker", "broker"), ("yard-local", "local"), ("yard-cloud", "cloud")] {
            let part = of(&text, user);
            let heard = &part[part.find("subscribe").unwrap()..];
            for inbox in ["broker", "local", "cloud"] {
                assert_eq!(heard.contains(&format!("_INBOX_yard_{inbox}.>")), inbox == own, "{part}");
            }
            assert_eq!(part.contains("allow_responses"), user != "yard-broker");
        }
        assert!(of(&text, "yard-local").contains("\"$JS.ACK.YARD_v1_LANES_LOCAL.>\""));
    }

    #[test]
    fn no_password_is_in_it_and_every_name_has_the_prefix() {
        let text = permissions("lab-2");
        assert!(!text.contains("\"yard"), "{text}");
        for name in ["$KV.LAB-2_v1_WORKERS.*", "LAB-2_v1_LANES_LOCAL", "lab-2.hello", "lab-2.v1.control.*", "_INBOX_lab-2_cloud.>"] {
            assert!(text.contains(name), "{name}: {text}");
        }
        let passwords: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("password: ")).collect();
        assert_eq!(passwords, ["$PULLYARD_BROKER_PASSWORD", "$PULLYARD_LOCAL_PASSWORD", "$PULLYARD_CLOUD_PASSWORD"]);
    }
}
