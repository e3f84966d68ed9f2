//! What `docker-compose up` starts, as its user has it: on a real engine, with the files that ship.
//!
//! Each test starts the services under a project name of its own, on a port of its own, and takes
//! all of it away again, also where it fails. `QATIME_COMPOSE` names another Compose than the one
//! that is found: `QATIME_COMPOSE="docker compose" cargo test --test compose`.
//! With `QATIME_IMAGES=as-they-are` none are built.

mod cluster;
mod containers;
mod files;
mod hostile;
mod images;
mod kills;
mod load;
mod project;
mod reloads;
