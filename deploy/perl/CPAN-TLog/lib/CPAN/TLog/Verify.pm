package CPAN::TLog::Verify;

use 5.016;
use strict;
use warnings;

use CPAN::TLog::Claim;
use CPAN::TLog::Encoding qw(compare_decimals);
use CPAN::TLog::Entry;
use CPAN::TLog::Evidence;
use CPAN::TLog::Findings;
use CPAN::TLog::Note;
use CPAN::TLog::Opened;
use CPAN::TLog::Outcome;
use CPAN::TLog::Result;

our $VERSION = '0.001';

# From this age on an index gets a note when the user has set no limit.
our $INDEX_AGE_NOTED = 26 * 3600;

# verify decides about a file. It is a function of the request alone: it opens nothing and reads no clock.
sub verify {
    my ($class, %request) = @_;
    $request{path} //= q{};
    my $self = bless { %request, findings => [] }, $class;
    $self->{result} = CPAN::TLog::Result->new(map { $_ => $request{$_} } qw(path sha256 size));
    if ($self->has_arguments) {
        for my $name (qw(bundle revocation deletion)) {
            next if !defined $request{$name};
            $self->{claims}{$name} = CPAN::TLog::Claim->examine($request{policy}, $request{$name});
        }
        $self->judge_proof;
        $self->judge_history;
        $self->judge_file;
        $self->judge_revocation;
        $self->note_deletion;
        $self->judge_age;
    }
    $self->judge_path;
    return $self->conclude;
}

sub has_arguments {
    my ($self) = @_;
    if (!$self->{policy}) {
        $self->add(error => CPAN::TLog::Findings::no_policy());
        return 0;
    }
    $self->add(error => CPAN::TLog::Findings::no_time())
        if !defined $self->{now} && ($self->{max_age} || $self->{max_index_age});
    return 1;
}

sub add {
    my ($self, $outcome, %finding) = @_;
    push @{$self->{findings}}, { outcome => $outcome, causes => [], next => [], %finding };
    return;
}

sub check {
    my ($self, $name, $ok, $detail) = @_;
    push @{$self->{result}{checks}}, { name => $name, ok => $ok ? 1 : 0, detail => $detail };
    return $ok;
}

sub note {
    my ($self, $format, @args) = @_;
    push @{$self->{result}{notes}}, sprintf $format, @args;
    return;
}

sub main { return $_[0]{claims}{bundle} }

# judge_proof is about the bundle, up to its entry's bytes, and about there being none.
sub judge_proof {
    my ($self) = @_;
    my $claim  = $self->main;
    my $result = $self->{result};
    if (!$claim) {
        my ($outcome, %finding) = CPAN::TLog::Findings::absent($self);
        return $self->add($outcome, %finding);
    }
    push @{$result->{checks}}, $claim->checks;
    $result->{checkpoint} = $claim->opened if $claim->is_signed;
    if ($claim->included && $claim->quorum eq 'met') {
        $result->{index} = $claim->bundle->index;
        $result->{entry} = $claim->entry;
    }
    my $opened = $claim->opened;
    if ($opened && (!$opened->is_signed || $claim->quorum eq 'unknown')) {
        $self->add(upgrade => CPAN::TLog::Findings::needs_mldsa($self, 'whose word is needed'));
    }
    elsif ($opened && $claim->quorum eq 'unmet') {
        $self->add(policy => CPAN::TLog::Findings::quorum_unmet($self));
    }
    return if !$claim->failed;
    return $self->add(upgrade => CPAN::TLog::Findings::newer_entry($self)) if $claim->error->kind eq 'upgrade';
    return $self->add('invalid-proof' => CPAN::TLog::Findings::bad_proof($self));
}

# judge_history compares everything that the log signed. What was remembered is verified only if it contradicts
# something.
sub judge_history {
    my ($self) = @_;
    my (@statements, $unreadable);
    for my $bytes (@{$self->{known} || []}) {
        my $note = eval { CPAN::TLog::Note->parse($bytes) };
        if (!$note) {
            $unreadable++;
            next;
        }
        push @statements, { source => 'a checkpoint remembered from before', note => $note };
    }
    my @claims;
    for my $of ([bundle => q{the bundle's checkpoint}], [revocation => 'the checkpoint of the revocation'],
        [deletion => 'the checkpoint of the deletion']) {
        my $claim = $self->{claims}{$of->[0]} or next;
        push @claims, $claim;
        push @statements, { source => $of->[1], note => $claim->opened->note, signed => 1 } if $claim->is_signed;
    }
    my ($evidence, $first, $second) = $self->contradiction(@statements);
    if ($evidence) {
        $self->add(misbehaviour => CPAN::TLog::Findings::two_roots($first, $second));
    }
    elsif (($evidence, $first, $second) = $self->contradicting_claims(@claims)) {
        $self->add(misbehaviour => CPAN::TLog::Findings::two_entries($first, $second));
    }
    $self->{result}{evidence} = $evidence;
    my $count = sprintf '%d checkpoints, no two of one size differ', scalar @statements;
    return $self->check(history => 0, $evidence->summary) if $evidence;
    return $self->check(history => 1, "$count; $unreadable of the remembered ones unreadable") if $unreadable;
    return $self->check(history => 1, $count) if @statements > 1;
    return;
}

sub contradiction {
    my ($self, @statements) = @_;
    my %of_size;
    for my $statement (@statements) {
        my $note = $statement->{note};
        my $same = $of_size{$note->origin . "\n" . $note->size} ||= [];
        for my $earlier (@{$same}) {
            next if $earlier->{note}->root eq $note->root;
            next if !$self->is_signed($earlier) || !$self->is_signed($statement);
            return (CPAN::TLog::Evidence->of_roots($earlier->{note}, $note), $earlier, $statement);
        }
        push @{$same}, $statement;
    }
    return;
}

# is_signed asks for less than opening a checkpoint does: one bad line of somebody else must not let a log off that
# had signed.
sub is_signed {
    my ($self, $statement) = @_;
    return $statement->{signed} if defined $statement->{signed};
    my $note = $statement->{note};
    $statement->{signed} = 0;
    for my $line ($note->signatures) {
        my $known = $self->{policy}->known($line) or next;
        my $key   = $known->{key};
        next if !$known->{log} || !$key->is_judged || $key->name ne $note->origin;
        $statement->{signed} = 1 if eval { $key->verify($note->text, $line); 1 };
    }
    return $statement->{signed};
}

# contradicting_claims: two bundles that prove different entries at one index, which checkpoints of different sizes do
# not show.
sub contradicting_claims {
    my ($self, @claims) = @_;
    my @included = grep { $_->included } @claims;
    for my $i (0 .. $#included) {
        for my $earlier (@included[0 .. $i - 1]) {
            my ($a, $b) = ($earlier, $included[$i]);
            next if $a->bundle->index ne $b->bundle->index || $a->bundle->entry eq $b->bundle->entry;
            next if $a->opened->origin ne $b->opened->origin;
            my @of = ($a->opened->origin, $a->opened->size, $b->opened->size);
            return (CPAN::TLog::Evidence->of_entries($a->bundle, $b->bundle, @of), $a, $b);
        }
    }
    return;
}

# judge_file compares what the entry says with what the caller holds.
sub judge_file {
    my ($self) = @_;
    my $entry = $self->main && $self->main->entry or return;
    my $path  = length $self->{path} ? $self->{path} : $entry->path;
    return $self->add('invalid-proof' => CPAN::TLog::Findings::other_path($self, $entry))
        if !$self->check(path => $entry->path eq $path, $entry->path);
    my ($kind, $wrong) = CPAN::TLog::Entry::kind_of($path);
    return $self->add('invalid-proof' => CPAN::TLog::Findings::other_kind($self, $entry, $kind))
        if !$self->check(kind => !$wrong && $entry->kind eq $kind, $entry->kind);
    $self->{file} = $entry;
    $self->{result}{path} = $path if $self->main->quorum eq 'met';
    my $digest = $self->check(digest => $entry->sha256 eq $self->{sha256}, 'logged ' . $entry->sha256);
    my $size   = $self->check(size => $entry->size eq $self->{size}, sprintf 'logged %s bytes', $entry->size);
    $self->add(mismatch => CPAN::TLog::Findings::other_bytes($self, $entry)) if !$digest || !$size;
    return;
}

# judge_revocation decides whether there is a void of the file's entry. It revokes every upload entry of its path
# and digest that stands before it.
sub judge_revocation {
    my ($self) = @_;
    my $claim = $self->{claims}{revocation};
    return if !$claim || ($self->main && !$self->{file});
    $self->add(upgrade => CPAN::TLog::Findings::needs_mldsa($self, 'that revokes this path')) if $claim->undecided;
    my ($concerns, $why) = $self->later($claim, 'void');
    if (defined $why) {
        $self->check(revocation => 0, "ignored: $why");
        $self->note('a revocation of this path was handed over and is not proven, so it was ignored: %s', $why);
    }
    elsif (!$concerns) {
        $self->check(revocation => 1, sprintf 'entry %s voids another entry of this path', $claim->bundle->index);
    }
    else {
        $self->check(revocation => 0, sprintf 'voided by entry %s', $claim->bundle->index);
        $self->add(revoked => CPAN::TLog::Findings::voided($self, $claim));
    }
    return;
}

# note_deletion says what a person may want to know of a file that verifies.
sub note_deletion {
    my ($self) = @_;
    my $claim = $self->{claims}{deletion};
    return if !$claim || ($self->main && !$self->{file});
    my ($concerns, $why) = $self->later($claim, 'delete');
    return $self->check(deletion => 0, "ignored: $why") if defined $why;
    my $index = $claim->bundle->index;
    return $self->check(deletion => 1, "entry $index deletes another entry of this path") if !$concerns;
    $self->check(deletion => 1, "deleted by entry $index");
    $self->note('it was deleted from PAUSE on %s (entry %s), which is routine; older copies stay what they were',
        $claim->entry->time, $index);
    return;
}

# later reports whether a claim is an entry of this kind about the file's path and digest that came after the file's
# own entry, and why it is no proven entry of that kind and path.
sub later {
    my ($self, $claim, $kind) = @_;
    my $unproven = $claim->unproven;
    return (0, $unproven) if defined $unproven;
    my $entry = $claim->entry;
    my $path  = $self->{file} ? $self->{file}->path : $self->{path};
    return (0, sprintf 'expected a %s entry of %s, found a %s entry of %s', $kind,
        length $path ? $path : 'a path that is not known', $entry->kind, $entry->path)
        if $entry->kind ne $kind || $entry->path ne $path;
    if ($self->{file}) {
        my $origin = $self->main->opened->origin;
        return (0, sprintf 'it is an entry of %s, and the file is logged in %s', $claim->opened->origin, $origin)
            if $claim->opened->origin ne $origin;
        return (0, undef) if compare_decimals($claim->bundle->index, $self->main->bundle->index) <= 0;
    }
    return ($entry->sha256 eq $self->{sha256}, undef);
}

# judge_age holds the limits on age against what is otherwise in order.
sub judge_age {
    my ($self) = @_;
    my $now = $self->{now};
    return if !$self->{file} || $self->main->quorum ne 'met' || !defined $now;
    if ($self->{max_age}) {
        my $fresh = $now >= 0 ? $self->main->opened->fresh($now, int $self->{max_age}) : 'unmet';
        $self->check(age => $fresh eq 'met', 'signed ' . CPAN::TLog::Findings::signed_when($self));
        if ($fresh eq 'unmet') {
            $self->add(stale => CPAN::TLog::Findings::old_checkpoint($self));
        }
        elsif ($fresh eq 'unknown' && !grep { $_->{outcome} =~ /\A(?:mismatch|revoked)\z/a } @{$self->{findings}}) {
            $self->add(upgrade => CPAN::TLog::Findings::needs_mldsa($self, 'that says when it was made'));
        }
    }
    return if $self->{file}->kind ne 'index';
    my $age = $now - $self->{file}->seconds_since_1970;
    if ($self->{max_index_age}) {
        my $young = $age <= int $self->{max_index_age} && $age >= -$CPAN::TLog::Opened::FUTURE_TOLERANCE;
        $self->check('index-age' => $young, 'of ' . $self->{file}->time);
        $self->add(stale => CPAN::TLog::Findings::old_index($self, $age)) if !$young;
    }
    elsif ($age > $INDEX_AGE_NOTED) {
        $self->note('this index is %s old, and no limit is set: mirrors lag and PAUSE sometimes stands still, '
            . 'but an old index hides newer releases', CPAN::TLog::Findings::duration($age));
    }
    elsif ($age < -$CPAN::TLog::Opened::FUTURE_TOLERANCE) {
        $self->note(q{this index is dated %s ahead of this machine's clock}, CPAN::TLog::Findings::duration(-$age));
    }
    return;
}

# judge_path comes last, because a file whose path was not given is told the one that its bundle proves.
sub judge_path {
    my ($self) = @_;
    if (!length $self->{path}) {
        $self->add(usage => CPAN::TLog::Findings::no_path($self)) if !$self->{any_path};
        return;
    }
    my ($kind, $wrong) = CPAN::TLog::Entry::kind_of($self->{path});
    $self->add(usage => CPAN::TLog::Findings::bad_path($wrong)) if $wrong;
    return;
}

# conclude picks the outcome: the first in the order of precedence, and of several that are the same the one that was
# found first.
sub conclude {
    my ($self) = @_;
    my $result  = $self->{result};
    my $outcome = CPAN::TLog::Outcome::worst('verified', map { $_->{outcome} } @{$self->{findings}});
    my ($finding) = grep { $_->{outcome} eq $outcome } @{$self->{findings}};
    $finding ||= { causes => [], next => [], CPAN::TLog::Findings::verified($self) };
    $result->{outcome} = $outcome;
    @{$result}{qw(message expected found causes next)} = @{$finding}{qw(message expected found causes next)};
    return $result;
}

1;

__END__

=encoding utf8

=head1 NAME

CPAN::TLog::Verify - is this file what was logged?

=head1 SYNOPSIS

    my ($sha256, $size) = CPAN::TLog::File::digest_of($file);
    my $result = CPAN::TLog::Verify->verify(
        policy => CPAN::TLog::Policy->read_file('/etc/pauselog/policy'),
        path   => 'authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz',
        sha256 => $sha256,
        size   => $size,
        bundle => CPAN::TLog::File::read_bounded("$file.tlog-proof", 262_145),
        now    => time,
    );
    print $result->outcome, "\n";

=head1 DESCRIPTION

Digest, path, proof bundle and policy go in, and exactly one outcome (L<CPAN::TLog::Outcome>) comes out, with the reason
in words that a person can act on. The module opens no socket and no file and reads no clock.

Verified means: logged, and the same for everyone. It does not mean harmless: a malicious release by its own author is
logged like every other.

=head1 METHODS

=head2 verify(%request)

Returns a L<CPAN::TLog::Result>. The request is

=over 4

=item policy

A L<CPAN::TLog::Policy>.

=item path, any_path

What the caller asked for, relative to the CPAN root. Without it any logged file would pass for any other, so it is a
mistake to leave it out, unless C<any_path> says that every path will do.

=item sha256, size

Of the file's bytes: 64 lowercase hex digits, and a decimal.

=item bundle

The proof, or undef if there is none. One of no bytes is malformed.

=item absence, absence_detail

Why there is none: C<not-logged> or C<pending> if the policy's log itself said so, over TLS or from the same machine,
and otherwise nothing; and what was answered.

=item revocation, deletion

The bundles of a void entry and of a delete entry for this path, as the log gave them.

=item known

A list of signed checkpoints that the caller remembers.

=item now, max_age, max_index_age

The time in seconds since 1970, and how old, in seconds, a checkpoint and the entry of an index may be.

=back

=head1 LIMITS

Signatures of ML-DSA-44 keys cannot be verified here. They count for nothing, and where they would have decided
something the outcome is C<upgrade>.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
