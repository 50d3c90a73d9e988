package CPAN::TLog::Command;

use 5.016;
use strict;
use warnings;

use File::Spec;
use Getopt::Long ();

use CPAN::TLog;
use CPAN::TLog::Ed25519;
use CPAN::TLog::Encoding qw(plain);
use CPAN::TLog::Error;
use CPAN::TLog::File qw(digest_of path_below);
use CPAN::TLog::Findings;
use CPAN::TLog::Memory;
use CPAN::TLog::Outcome;
use CPAN::TLog::Policy;
use CPAN::TLog::Result;
use CPAN::TLog::Search;
use CPAN::TLog::Source;
use CPAN::TLog::Verify;

our $VERSION = '0.001';

my $HELP = <<'END';
pauselog-verify checks that each file is, byte for byte, what the log has under the file's path on CPAN. It says
nothing if it is so.

What the path should be is for you to say: --root takes it from where the file lies below a copy of CPAN,
--path names it. To take it from the proof would let every logged file pass for every other; --any-path
does that, for who wants to know what a file is. Without any of these, the path that the proof
proves is printed, and the exit code is 2.

A proof is looked for in --proofs, in modules/tlog of the --root, in the files that the log itself serves at the
address in the policy, and in FILE.tlog-proof beside the file. None of that tells anybody which file it is.
--lookup asks the log, if all of that has no proof. --offline opens no connection at all. --proof names the one proof to
use. What is proven is compared with the newest checkpoint of the log that was seen on this machine.

The exit code is that of the worst file. --mode prefer is for the time in which not everything is logged and not
every mirror has proofs: what is missing or old is a warning then. It is no protection against an
attacker, who needs only to withhold the proof.

Exit codes, the same words in --json:
   0  verified       all good
   1  error          a local failure          2  usage          wrong flags, or a file without its path
  10  mismatch       logged with other bytes
  11  not-logged     the log itself says so  12  pending        logged, and not published yet
  13  unverifiable   no proof to be had      14  policy         too few witnesses signed
  15  misbehaviour   the log contradicts itself; the evidence is in a file
  16  stale          older than a limit      17  upgrade        this program is too old, or ML-DSA is needed
  18  revoked        the entry was voided    19  invalid-proof  a proof that proves nothing

Usage:
  pauselog-verify --policy FILE (--root CPANDIR | --path PATH | --any-path) FILE...

Examples:
  pauselog-verify --policy pause.policy --root /srv/cpan /srv/cpan/authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz
  pauselog-verify --policy pause.policy --path authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz Try-Tiny-0.31.tar.gz
  pauselog-verify --policy pause.policy --root /srv/cpan --max-index-age 30h /srv/cpan/modules/02packages.details.txt.gz
  pauselog-verify --policy pause.policy --any-path --explain download.tar.gz
  pauselog-verify --policy pause.policy --offline --proofs cpanfile.tlog-proofs --root vendor/cache FILE...

Flags:
      --any-path            accept every path that a proof proves
      --explain             print every check
  -h, --help                print this
      --json                print one JSON object a line, on failure too
      --lookup              ask the log at the address in the policy for what no other source proves: it learns the path
      --max-age D           how old the proof's checkpoint may be, as 720h (default: any age)
      --max-index-age D     how old an index may be (default: any age, with a warning from 26h on)
      --mode MODE           what stops: require (all but verified) or prefer (what is wrong, not what is missing)
      --offline             open no connection
      --path PATH           the path on CPAN that the one FILE should be
      --policy FILE         the file that says which log's keys and which witnesses to trust (default:
                            $CPAN_TLOG_POLICY, then pauselog/policy in $XDG_CONFIG_HOME, then /etc/pauselog/policy)
      --proof FILE          the proof of the one FILE, and no other
      --proofs PLACE        where proofs are: the folder or URL of a proof tree, a folder of .tlog-proof files, or a
                            .tlog-proofs file; again for more
      --root CPANDIR        a copy of CPAN in which the files lie: their paths are taken from there
      --state-dir DIR       the folder that remembers the newest checkpoint seen (default $XDG_STATE_HOME/pauselog)
  -v, --verbose             say more
      --version             print the version
END

# run is the command: arguments in, an exit code out.
sub run {
    my ($class, @args) = @_;
    my $self = bless { mode => 'require' }, $class;
    my $code = eval { $self->run_with(@args) };
    if (!defined $code) {
        my $error   = CPAN::TLog::Error->caught($@);
        my $outcome = $error->kind eq 'usage' ? 'usage' : 'error';
        $code = CPAN::TLog::Outcome::code($outcome);
        my $message = plain($error->message);
        if ($self->{json}) {
            print CPAN::TLog::Result::to_json(
                { outcome => $outcome, code => CPAN::TLog::Result::number($code), message => $message }), "\n";
        }
        else {
            print {*STDERR} "pauselog-verify: $message\n";
        }
    }

    # A full disk must not pass for success.
    if (!close(STDOUT) && $code == 0) {
        print {*STDERR} "pauselog-verify: standard output: $!\n";
        $code = CPAN::TLog::Outcome::code('error');
    }
    return $code;
}

sub run_with {
    my ($self, @args) = @_;
    $self->options(\@args);
    binmode STDOUT;
    if ($self->{help}) {
        print $HELP;
        return 0;
    }
    if ($self->{version}) {
        printf "pauselog-verify %s, perl %vd, Ed25519 by %s\n", $CPAN::TLog::VERSION, $^V,
            CPAN::TLog::Ed25519::implementation();
        return 0;
    }
    $self->prepare(@args);
    my $worst = 'verified';
    for my $file (@args) {
        my $result = $self->verify($file);
        $self->show($file, $result);
        $worst = CPAN::TLog::Outcome::worst($worst, $result->outcome)
            if CPAN::TLog::Outcome::stops($result->outcome, $self->{mode});
    }
    return CPAN::TLog::Outcome::code($worst);
}

sub usage {
    my ($format, @args) = @_;
    CPAN::TLog::Error->throw(usage => "$format; see --help", @args);
}

sub options {
    my ($self, $args) = @_;

    # Known before anything can go wrong, so that what goes wrong is told in JSON too.
    $self->{json} = grep { $_ eq '--json' } @{$args};
    my $parser = Getopt::Long::Parser->new(config => [qw(no_auto_abbrev no_ignore_case bundling permute)]);
    my @wrong;
    local $SIG{__WARN__} = sub { push @wrong, $_[0] =~ s/\s+\z//r };
    my %option = map { (my $name = $_) =~ s/[|=].*//; ($_ => \$self->{$name =~ tr/-/_/r}) } qw(
        policy=s root=s path=s any-path proof=s proofs=s@ lookup offline mode=s max-age=s max-index-age=s
        state-dir=s explain json verbose|v help|h version
    );
    $parser->getoptionsfromarray($args, %option) or usage('%s', join '; ', map { lcfirst } @wrong);
    return;
}

sub prepare {
    my ($self, @files) = @_;
    usage('a FILE is needed') if !@files;
    usage('--root, --path and --any-path exclude each other')
        if 1 < grep { defined $self->{$_} } qw(root path any_path);
    usage('--path is for one FILE, found %d: use --root for many', scalar @files)
        if @files > 1 && defined $self->{path};
    usage('--proof is for one FILE, found %d', scalar @files) if @files > 1 && defined $self->{proof};
    usage('--proof is the one proof, and excludes --proofs and --lookup')
        if defined $self->{proof} && ($self->{proofs} || $self->{lookup});
    usage('--offline excludes --lookup') if $self->{offline} && $self->{lookup};
    usage('--mode: expected require or prefer, found %s', $self->{mode}) if $self->{mode} !~ /\A(?:require|prefer)\z/a;
    for my $name (qw(max_age max_index_age)) {
        next if !defined $self->{$name};
        my $seconds = seconds($self->{$name});
        usage('--%s: expected a duration like 30h or 1h30m, found %s', $name =~ tr/_/-/r, $self->{$name})
            if !defined $seconds;
        $self->{$name} = $seconds;
    }
    $self->{policy} //= CPAN::TLog::Policy->find_file;
    usage('--policy is needed: the file that says which log\'s keys and which witnesses to trust; '
        . 'its operator publishes it') if !defined $self->{policy};
    my $policy = eval { CPAN::TLog::Policy->read_file($self->{policy}) };
    usage('the policy: %s: %s', $self->{policy}, CPAN::TLog::Error->caught($@)->message) if !$policy;
    my $memory = CPAN::TLog::Memory->new($self->{state_dir});
    $self->{memory}  = $memory;
    $self->{request} = {
        policy   => $policy,
        any_path => $self->{any_path},
        memory   => $memory,
        now      => time,
        map { $_ => $self->{$_} } qw(max_age max_index_age),
    };
    $self->open_sources($policy, $memory);
    return;
}

# open_sources makes the sources that all files share.
sub open_sources {
    my ($self, $policy, $memory) = @_;
    my %with = (policy => $policy, memory => $memory);
    my @before;
    for my $place (@{$self->{proofs} || []}) {
        usage('--offline allows no connection, and --proofs names %s', $place)
            if $self->{offline} && $place =~ m{\A(?!file:)[^/]*://}ai;
        push @before, eval { CPAN::TLog::Source->proofs($place, %with) }
            // usage('--proofs: %s', CPAN::TLog::Error->caught($@)->message);
    }
    push @before, CPAN::TLog::Source->tree($self->{root}, %with)
        if defined $self->{root} && -d File::Spec->catdir($self->{root}, 'modules', 'tlog');
    my $url = CPAN::TLog::Source::log_url($policy);
    usage('--lookup: the policy does not say where the log is') if $self->{lookup} && !defined $url;
    push @before, CPAN::TLog::Source->log_files($url, %with) if !$self->{offline};
    $self->{before} = \@before;
    $self->{after}  = [$self->{lookup} ? CPAN::TLog::Source->lookup($url, $policy) : ()];
    return;
}

# seconds reads a duration as Go writes them, or returns undef.
sub seconds {
    my ($text) = @_;
    my %unit = (h => 3_600, m => 60, s => 1, ms => 1e-3);
    return 0 if $text eq '0';
    return if $text !~ /\A(?:[0-9]{1,9}(?:\.[0-9]{0,9})?(?:h|ms|m|s))+\z/a;
    my $seconds = 0;
    $seconds += $1 * $unit{$2} while $text =~ /([0-9.]+)(h|ms|m|s)/ag;
    return $seconds;
}

sub verify {
    my ($self, $file) = @_;
    my %request = (%{$self->{request}}, path => $self->{path} // q{});
    my $result  = eval {
        @request{qw(sha256 size)} = digest_of($file);
        $request{path} = path_below($self->{root}, $file) if defined $self->{root};
        CPAN::TLog::Search->verify([$self->sources($file)], %request);
    };
    return CPAN::TLog::Result->failed(CPAN::TLog::Error->caught($@)->message,
        map { $_ => $request{$_} } grep { defined $request{$_} } qw(path sha256 size)) if !$result;
    $self->keep_evidence($result);
    return $result;
}

# sources are those of one file. A proof that is given by name is the only one.
sub sources {
    my ($self, $file) = @_;
    return CPAN::TLog::Source->named($self->{proof}) if defined $self->{proof};
    return (@{$self->{before}}, CPAN::TLog::Source->beside($file), @{$self->{after}});
}

sub keep_evidence {
    my ($self, $result) = @_;
    my $evidence = $result->evidence or return;
    return if $self->{memory} && eval { $result->{evidence_path} = $self->{memory}->write_evidence($evidence) };
    warning('the evidence could not be written. It follows, keep it:');
    print {*STDERR} $evidence->text;
    return;
}

sub warning { return print {*STDERR} 'pauselog-verify: warning: ', plain($_[0]), "\n" }

# show prints what came out: results to standard output, and everything else to standard error. A file that verified is
# not worth a word.
sub show {
    my ($self, $file, $result) = @_;
    if ($self->{json}) {
        print $result->json(file => $file), "\n";
        return;
    }
    if ($result->outcome ne 'verified') {
        print {*STDERR} $result->reason($file);
    }
    elsif ($self->{verbose} || $self->is_old_index($result)) {
        print 'verified ', plain($result->path), "\n" if $self->{verbose};
        print {*STDERR} map { plain($file) . ': note: ' . plain($_) . "\n" } $result->notes;
    }
    print $result->path, "\n" if $result->outcome eq 'usage' && defined $result->index && length $result->path;
    print $result->explain if $self->{explain};
    return;
}

# is_old_index: an index that is held back hides newer releases, and so is worth a warning.
sub is_old_index {
    my ($self, $result) = @_;
    my $entry = $result->entry;
    return $entry && $entry->kind eq 'index' && !$self->{max_index_age}
        && $self->{request}{now} - $entry->seconds_since_1970 > $CPAN::TLog::Verify::INDEX_AGE_NOTED;
}

1;

__END__

=encoding utf8

=head1 NAME

CPAN::TLog::Command - the command pauselog-verify

=head1 DESCRIPTION

See L<pauselog-verify>.

=head1 METHODS

=head2 run(@arguments)

Returns the exit code.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
