//! End to end: the real binary, on real ports, files and servers. One file a theme.

mod client;
mod cluster;
mod collector;

mod attacks;
mod backup;
mod changes;
mod cli;
mod clicks;
mod creates;
mod faults;
mod floods;
mod keys;
mod kill;
mod limits;
mod measured;
mod operate;
mod pages;
mod phone;
mod redirects;
mod secrets;
mod stops;
mod tls;
mod traces;
mod transfer;
