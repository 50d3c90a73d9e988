package CPAN::TLog::Findings;

use 5.016;
use strict;
use warnings;

use CPAN::TLog::Bundle;
use CPAN::TLog::Encoding qw(compare_decimals encode_base64 is_number plain);
use CPAN::TLog::Entry;
use CPAN::TLog::Opened;

our $VERSION = '0.001';

# The words of each finding. Whoever reads them has a file in front of them that was stopped, and most likely nothing
# bad has happened: so the innocent causes come first, each with a way to find out.

my $TELL_SECURITY = 'if it stays so, tell the CPAN Security Group (https://security.metacpan.org)';
my $TELL_OPERATOR = q{tell the log's operator and the CPAN Security Group (https://security.metacpan.org)};

sub no_policy {
    return (
        message  => 'there is no policy, so there is no log to trust',
        expected => q{a policy with a log's key},
        found    => 'none',
    );
}

sub no_time {
    return (
        message  => 'there is a limit on age, and the time is not known',
        expected => 'the present time',
        found    => 'none',
    );
}

sub verified {
    my ($v) = @_;
    my $message = sprintf '%s is logged as entry %s of %s',
        $v->{file}->path, $v->main->bundle->index, $v->main->opened->origin;
    my $bytes = describe($v->{sha256}, $v->{size});
    if ($v->{policy}->quorum_none) {

        # Without a witness nobody has compared what different readers are shown.
        $v->note('the policy needs no witness, so that everyone is shown the same log is the word of the log alone');
    }
    else {
        $message .= ', and the same for everyone';
    }
    return (message => $message, expected => $bytes, found => $bytes);
}

sub absent {
    my ($v) = @_;
    my $absence = $v->{absence} || q{};
    my $subject = subject($v);
    my $found   = plain($v->{absence_detail} // q{});
    my %finding = (expected => "a proof that $subject is logged", found => $found);
    if ($absence eq 'not-logged') {
        my @causes = (
            'the path is not spelled as on CPAN: case matters',
            'it was published before the log began, and is not backfilled yet',
            'it is so new that PAUSE has not submitted it yet',
            'it never was on PAUSE under this path',
        );
        my $why = defined CPAN::TLog::Entry::author($v->{path}) ? CPAN::TLog::Entry::never_logged($v->{path}) : undef;
        unshift @causes, "files like this are never logged: $why" if $why;
        return (
            'not-logged', %finding,
            message => "$subject is not logged, says the log",
            causes  => \@causes,
            next    => [lookup($v), 'compare the path with https://www.cpan.org/ or https://metacpan.org/'],
            found   => length $found ? $found : 'no entry',
        );
    }
    if ($absence eq 'pending') {
        return (
            'pending', %finding,
            message => "$subject is logged, but newer than the newest published checkpoint",
            causes  => ['it was published a moment ago', 'the log is waiting for its witnesses'],
            next    => ['try again in a minute'],
            found   => length $found ? $found : 'an entry that no published checkpoint covers',
        );
    }
    return (
        'unverifiable', %finding,
        message => "there is no proof to be had for $subject: nothing is known to be wrong with it, and nothing to be right",
        causes  => [
            'this machine is offline, or the log cannot be reached from it',
            'the mirror does not carry proofs, or not yet this one',
            'it is not logged',
            'somebody withholds the proof',
        ],
        next => [
            'when there is a connection: ' . lookup($v),
            "try another mirror, or put the file's bundle beside it as FILE$CPAN::TLog::Bundle::EXTENSION",
        ],
        found => length $found ? $found : 'none',
    );
}

# bad_proof is about a bundle that is malformed or proves nothing.
sub bad_proof {
    my ($v)     = @_;
    my $claim   = $v->main;
    my $kind    = $claim->error->kind;
    my $damaged = 'the bundle was damaged on the way: one changed bit is enough';
    my $made_up = 'somebody made it up';
    my @next    = (
        'get the bundle again, from another mirror or from the log: ' . lookup($v),
        'without a bundle that verifies, treat the file as one that has none',
    );
    my @found = (found => $claim->error->message);
    if ($kind eq 'version') {
        return (
            @found,
            message  => 'the proof bundle is of a later version than this program reads, so it proves nothing here',
            expected => "a text that begins with $CPAN::TLog::Bundle::HEADER",
            causes   => ['this program is older than the one that made the bundle'],
            next     => ['update this program', 'or get the bundle in the older form: ' . lookup($v)],
        );
    }
    if ($claim->failed eq 'bundle') {
        return (
            @found,
            message  => 'the proof bundle cannot be read, so it proves nothing',
            expected => "a text that begins with $CPAN::TLog::Bundle::HEADER",
            causes   => [
                'its download was cut short', 'another file, or a web page with an error, was saved in its place', $damaged,
            ],
            next => \@next,
        );
    }
    if ($claim->failed eq 'checkpoint') {
        my $unknown = $kind eq 'unknown-log';
        return (
            @found,
            message  => q{the bundle's checkpoint is not one that the policy's log signed, so the bundle proves nothing},
            expected => 'a checkpoint with a valid signature of ' . logs($v),
            causes   => $unknown
            ? ['the bundle is of another log', q{the policy is older than the log's present key}, $made_up]
            : [$damaged, $made_up],
            next => [@next, $unknown ? q{compare the policy with the one that the log's operator publishes} : ()],
        );
    }
    my $index  = $claim->bundle->index;
    my $opened = $claim->opened;
    if ($claim->failed eq 'inclusion') {
        return (
            @found,
            message  => 'the bundle does not prove that its entry is in the log',
            expected => sprintf('hashes that lead from entry %s to root %s', $index, encode_base64($opened->root)),
            causes   => [$damaged, 'it was put together from parts of two proofs', $made_up],
            next     => \@next,
        );
    }
    return (
        @found,
        message  => sprintf('entry %s of %s is in the log and is no entry that can be read', $index, $opened->origin),
        expected => "an entry of $CPAN::TLog::Entry::FORMAT",
        causes   => ['the log has a fault: it should never have taken this', 'this program has one'],
        next     => [@next, q{tell the log's operator, with the bundle}],
    );
}

sub other_path {
    my ($v, $entry) = @_;
    return (
        message  => 'the bundle is of another path, so it proves nothing about this one',
        expected => $v->{path},
        found    => $entry->path,
        causes   => [
            'the file or the bundle was renamed, or saved beside the wrong one',
            'a mirror mixes up its files',
            'somebody passes one file off as another',
        ],
        next => [
            'get the bundle of this path: ' . lookup($v),
            sprintf('if you know the file to be %s, verify it with --path %s', $entry->path, shell($entry->path)),
        ],
    );
}

sub other_kind {
    my ($v, $entry, $wanted) = @_;
    my $kind = $entry->kind;
    return (
        message  => "the bundle proves that the log has a $kind entry of this path, which does not make a file verify",
        expected => "an entry of kind $wanted",
        found    => sprintf('entry %s, of kind %s', $v->main->bundle->index, $kind),
        causes   => [
            'the bundle of another entry of this path was taken', 'there is no other: the file was deleted or refused',
        ],
        next => [lookup($v)],
    );
}

sub quorum_unmet {
    my ($v) = @_;
    my @all    = map { $_->{name} } $v->{policy}->witnesses;
    my @signed = map { $_->{witness} } $v->main->opened->cosignatures;
    return (
        message  => q{the proof is the log's, but too few witnesses of the policy have signed its checkpoint},
        expected => q{cosignatures that make the policy's quorum, of the witnesses } . list(@all),
        found    => 'cosignatures of ' . list(@signed),
        causes   => [
            'the bundle is older than the policy, which has got new witnesses since',
            'signature lines were left out on the way, for instance those of ML-DSA keys',
            q{the policy is older than the log's present witnesses},
            'the witnesses have not seen the tree that you are shown',
        ],
        next => [
            'get a newer bundle, with all signature lines: ' . lookup($v),
            q{compare the policy with the one that the log's operator publishes},
            $TELL_SECURITY,
        ],
    );
}

# needs_mldsa is where this program ends and the others go on.
sub needs_mldsa {
    my ($v, $which) = @_;
    return (
        message  => "the signatures $which are of ML-DSA keys, which this program cannot verify",
        expected => q{Ed25519 signatures that satisfy the policy},
        found    => 'signature lines of ML-DSA keys besides, of which nothing is known',
        causes   => ['the policy needs post-quantum signatures'],
        next     => [
            'verify with pauselog, which knows them: pauselog verify',
            q{or, if the log's operator publishes one, use a policy that Ed25519 keys satisfy},
        ],
    );
}

sub newer_entry {
    my ($v) = @_;
    my $claim = $v->main;
    return (
        message  => sprintf('entry %s is in the log, and its format is newer than this program', $claim->bundle->index),
        expected => "an entry of $CPAN::TLog::Entry::FORMAT and of a known kind",
        found    => $claim->error->message,
        causes   => ['this program is older than the entry'],
        next     => ['update this program, and verify again'],
    );
}

sub other_bytes {
    my ($v, $entry) = @_;
    my @causes = (
        q{the file was saved under another file's name},
        'the mirror has a damaged copy, or a proxy changed it',
        'somebody replaced the file',
    );
    my $order = compare_decimals($v->{size}, $entry->size);
    unshift @causes, $order < 0
        ? sprintf('the download was cut short: it has %s bytes of %s', $v->{size}, $entry->size)
        : $entry->kind eq 'index' ? 'the mirror got a newer index, or a newer proof, between the two downloads'
        : $order > 0              ? 'the file was unpacked or changed after the download'
        :                           ();
    return (
        message  => $entry->path . ' is logged with other bytes than these',
        expected => describe($entry->sha256, $entry->size),
        found    => describe($v->{sha256}, $v->{size}),
        causes   => \@causes,
        next     => ['do not use this copy; download it again, from another mirror', lookup($v), $TELL_SECURITY],
    );
}

sub voided {
    my ($v, $claim) = @_;
    my $entry = $claim->entry;
    return (
        message  => $entry->path . q{ with these bytes was revoked by the log's operator},
        expected => 'no void of this path and digest',
        found    => sprintf('entry %s of %s, which voids entry %s', $claim->bundle->index, $entry->time, $entry->voided),
        causes   => [
            'it was logged by mistake, and the right file is logged under this path since',
            'these bytes never should have been on PAUSE',
        ],
        next => ['do not use this copy', lookup($v), q{ask the log's operator why}],
    );
}

sub old_checkpoint {
    my ($v) = @_;
    my $limit   = duration($v->{max_age});
    my $ahead   = duration($CPAN::TLog::Opened::FUTURE_TOLERANCE);
    my $alone   = $v->{policy}->quorum_none;
    my @untimed = $alone
        ? q{the bundle has no signature line with a time: the log's Ed25519 signatures carry none, its ML-DSA ones do}
        : ();
    return (
        message  => q{the proof's checkpoint is not known to be as young as the limit},
        expected => $alone
        ? "a signature of the log with a time at most $limit old"
        : "signatures of the quorum at most $limit old, and at most $ahead ahead",
        found  => 'signatures ' . signed_when($v),
        causes => [
            @untimed,
            'the bundle was made when the file was new, and kept since',
            'the mirror lags',
            q{this machine's clock is wrong},
            'somebody holds newer checkpoints back',
        ],
        next => ['get a new bundle: ' . lookup($v), 'or set a longer --max-age'],
    );
}

sub old_index {
    my ($v, $age) = @_;
    my $limit = duration($v->{max_index_age});
    my $time  = $v->{file}->time;
    if ($age < 0) {
        return (
            message  => 'this index is dated in the future',
            expected => "an index dated at most $limit ago",
            found    => sprintf('one dated %s, %s ahead', $time, duration(-$age)),
            causes   => [q{this machine's clock is wrong}, q{PAUSE's clock was}],
            next     => [q{set this machine's clock}, lookup($v)],
        );
    }
    return (
        message  => 'this index is older than the limit',
        expected => "an index dated at most $limit ago",
        found    => sprintf('one dated %s, %s ago', $time, duration($age)),
        causes   => [
            'the mirror lags', 'PAUSE has not made a new index', q{this machine's clock is wrong},
            'somebody holds newer indexes back, to hide a release',
        ],
        next => ['download it again, from another mirror', lookup($v), 'or set a longer --max-index-age'],
    );
}

# A log that contradicts itself is most often badly run, and the evidence is the same.
sub misbehaviour {
    return (
        causes => [
            'the policy or the remembered checkpoints are of a test log that was set up anew with its old key',
            'the log was restored from a backup, or ran twice, against its own rules',
            q{the log's key is in other hands, or its operator shows different logs to different people},
        ],
        next => [
            q{keep the evidence: it convinces everyone who has the log's key, whoever shows it},
            'do not install what this log alone vouches for',
            'pauselog audit',
            $TELL_OPERATOR,
        ],
    );
}

# convicted is about what a source of proofs has shown, of which the evidence says all.
sub convicted {
    my ($evidence) = @_;
    return (
        misbehaviour(),
        message  => $evidence->summary,
        expected => 'one tree, to which entries are only ever added',
        found    => 'two statements that the log signed and that contradict each other',
    );
}

sub two_roots {
    my ($earlier, $later) = @_;
    return (
        misbehaviour(),
        message  => sprintf('%s signed two different trees of size %s', $later->{note}->origin, $later->{note}->size),
        expected => sprintf('root %s, in %s', $earlier->{note}->root_base64, $earlier->{source}),
        found    => sprintf('root %s, in %s', $later->{note}->root_base64,   $later->{source}),
    );
}

sub two_entries {
    my ($earlier, $later) = @_;
    my $index = $later->bundle->index;
    return (
        misbehaviour(),
        message => sprintf('%s signed two trees that have different entries at index %s', $later->opened->origin, $index),
        expected => "one entry $index in all of its trees",
        found    => sprintf('two, in its trees of size %s and %s', $earlier->opened->size, $later->opened->size),
    );
}

# no_path is the answer for a file of which nobody said what it should be. To take the bundle's word would let every
# logged file pass for every other.
sub no_path {
    my ($v) = @_;
    my $path = $v->{result}->path;
    return (
        message  => 'the path of the file on CPAN was not given',
        expected => '--path or --root, or --any-path to accept what the bundle says',
        found    => 'a file without a path',
        next     => ['say which file this should be, with --path authors/id/...'],
    ) if !length $path;
    return (
        message  => "the path of the file on CPAN was not given; the bundle proves an entry of $path",
        expected => '--path or --root, or --any-path to accept what the bundle says',
        found    => "a bundle of $path",
        next     => ['if that is the file that you asked for, verify it with --path ' . shell($path)],
    );
}

sub bad_path {
    my ($wrong) = @_;
    return (
        message  => 'no file of this path can be logged',
        expected => 'a path like authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz or modules/02packages.details.txt.gz',
        found    => $wrong,
        causes   => ['the path is not relative to the CPAN root', 'it has a typing error'],
        next     => ['give the path as it is below the CPAN root'],
    );
}

sub subject { return length $_[0]{path} ? plain($_[0]{path}) : 'the file' }

# lookup is the command that shows what the log has.
sub lookup {
    my ($v) = @_;
    my $path = $v->{result}->path;
    return 'pauselog lookup --path ' . shell(plain($path)) if length $path;
    return "pauselog lookup --sha256 $v->{sha256}";
}

sub logs {
    my ($v) = @_;
    my %seen;
    return list(grep { !$seen{$_}++ } map { $_->{key}->name } $v->{policy}->logs);
}

# signed_when says when the bundle's checkpoint was signed by those whose times are known.
sub signed_when {
    my ($v) = @_;
    my $opened = $v->main->opened;
    my @signed = $v->{policy}->quorum_none ? $opened->log_signatures : $opened->cosignatures;
    my @times  = grep { $_ ne '0' } map { $_->{time} } @signed;
    return @times ? 'of ' . list(map { date_of($_) } @times) : 'without a time';
}

# date_of writes the time of a signature, which may be beyond what a date has four digits for.
sub date_of {
    my ($seconds) = @_;
    return "$seconds seconds after 1970" if !is_number($seconds) || $seconds > 253_402_300_799;
    my $days = int $seconds / 86_400;
    my $rest = $seconds - $days * 86_400;

    # Civil from days: years begin in March, so that the leap day ends them.
    my $z       = $days + 719_468;
    my $era     = int $z / 146_097;
    my $of_era  = $z - $era * 146_097;
    my $year    = int(($of_era - int($of_era / 1_460) + int($of_era / 36_524) - int($of_era / 146_096)) / 365);
    my $of_year = $of_era - (365 * $year + int($year / 4) - int($year / 100));
    my $m       = int((5 * $of_year + 2) / 153);
    my $day     = $of_year - int((153 * $m + 2) / 5) + 1;
    my $month   = $m < 10 ? $m + 3 : $m - 9;
    return sprintf '%04d-%02d-%02dT%02d:%02d:%02dZ', $year + $era * 400 + ($month <= 2 ? 1 : 0), $month, $day,
        int $rest / 3_600, int($rest / 60) % 60, $rest % 60;
}

sub describe { return "sha256 $_[0], $_[1] bytes" }

sub duration {
    my ($seconds) = @_;
    my ($h, $m, $s) = (int $seconds / 3_600, int($seconds / 60) % 60, $seconds % 60);
    return $h ? "${h}h${m}m${s}s" : $m ? "${m}m${s}s" : "${s}s";
}

# list joins names for a sentence, and leaves some out where a sentence would be none anymore.
sub list {
    my (@names) = @_;
    return 'none' if !@names;
    return join ', ', @names if @names <= 8;
    return sprintf '%s and %d more', join(', ', @names[0 .. 7]), @names - 8;
}

# shell quotes a path for a command line that a person copies: whoever chose it may have meant what a shell makes of it.
sub shell {
    my ($text) = @_;
    return $text if $text !~ m{[^A-Za-z0-9/._+@%,:-]}a;
    $text =~ s/'/'\\''/g;
    return "'$text'";
}

1;

__END__

=encoding utf8

=head1 NAME

CPAN::TLog::Findings - the words of what a verification finds

=head1 DESCRIPTION

Part of L<CPAN::TLog::Verify> and L<CPAN::TLog::Result>, which alone call its functions. Each returns what to say about one
finding: C<message>, one sentence; C<expected> and C<found>, what it was decided by; C<causes>, what may be behind it, the
innocent ones first; and C<next>, what to run or to do. They are the words of C<pauselog verify>.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
