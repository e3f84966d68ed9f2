//! What `docker-compose up` starts, as its user has it: on a real engine, with the files that ship.
//!
//! Each test starts the services under a project name of its own, on a port of its own, and takes
//! all of it away again, also where it fails. `QATIME_COMPOSE` names another Compose than the one
//! that is found: `QATIME_COMPOSE="docker compose" cargo test --test compose`.
//! With `QATIME_IMAGES=as-they-are` none are built.

#[cfg(test)]
mod archive;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod containers;
#[cfg(test)]
mod files;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod images;
#[cfg(test)]
mod kills;
#[cfg(test)]
mod load;
#[cfg(test)]
mod project;
#[cfg(test)]
mod reloads;
