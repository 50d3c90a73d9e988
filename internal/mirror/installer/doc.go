// Package installer sets up the programs that install from CPAN so that they use one verifying mirror and
// nothing else: what each needs in its environment and on its command line, and what on its
// command line would go round the mirror.
//
// It keeps what decides how and where something is built and installed (local::lib, PERL_MM_OPT,
// makepl_arg, distroprefs, a snapshot's versions), and replaces what decides where it comes from, and every cache from which a
// client would take a file without asking.
//
// A command line is read by the rules of the client's own parser (getopt), because our options are to be the last that
// count, and because an option that goes round the mirror can be written in many ways. The same is
// looked for in what else tells a client what to install: a cpanfile, a cpm.yml, a list on standard input.
//
// Of programs that ask other hosts than a mirror, the mirror is the proxy too, for TLS as well, which it refuses: a host that is
// none of CPAN's, or that is asked by TLS, is not reached. These are Carton, minicpan, cpanm where the mirror answers
// for the services that know versions (Request.Versions), and every program that is not known here. So cpm, which has no
// setting in the environment, fails in a script, and does not go round.
//
// What cannot be closed from outside: code of a distribution that downloads things by itself; a client that
// somebody else starts with another environment; sources on this machine that are named within a script; what is typed in
// the CPAN shell. deploy/INSTALLERS.md lists every way, with a number.
package installer
