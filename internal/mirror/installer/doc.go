// Package installer sets up the programs that install from CPAN so that they use one verifying mirror and
// nothing else: what each needs in its environment and on its command line, and what on its
// command line would go round the mirror.
//
// It keeps what decides how and where something is built and installed (local::lib, PERL_MM_OPT,
// makepl_arg, distroprefs), and replaces what decides where it comes from, and every cache from which a
// client would take a file without asking.
//
// cpanm, Carton and cpm find versions that are not in the index any more by services beside a mirror. Only where
// the mirror answers in their place (Request.Versions) are they let search for them, and it is then
// their proxy, for TLS too, which it refuses: a host that is none of CPAN's, or that is asked by TLS, is not reached.
//
// What cannot be closed from outside: code of a distribution that downloads things by itself; a
// client that somebody else starts with another environment; an environment variable that a Makefile changes; URLs
// that cpanm and cpm read from standard input.
package installer
