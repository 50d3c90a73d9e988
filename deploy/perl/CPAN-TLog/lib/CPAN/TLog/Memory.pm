package CPAN::TLog::Memory;

use 5.016;
use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use Fcntl qw(:flock);
use File::Path ();
use File::Spec;
use File::Temp ();
use IO::Handle;

use CPAN::TLog::Encoding qw(compare_decimals);
use CPAN::TLog::Error;
use CPAN::TLog::Evidence;
use CPAN::TLog::File qw(read_bounded);
use CPAN::TLog::Note;

our $VERSION = '0.001';

# new is the folder in which pauselog remembers the newest checkpoint that it saw of each log: the named one, or the
# user's. It returns nothing if there is no place to remember anything.
sub new {
    my ($class, $dir) = @_;
    if (!defined $dir) {
        my ($state, $home) = @ENV{qw(XDG_STATE_HOME HOME)};

        # The XDG specification has relative values ignored.
        if (defined $state && File::Spec->file_name_is_absolute($state)) {
            $dir = File::Spec->catdir($state, 'pauselog');
        }
        elsif (defined $home && File::Spec->file_name_is_absolute($home)) {
            $dir = File::Spec->catdir($home, '.local', 'state', 'pauselog');
        }
        else {
            return;
        }
    }
    return bless { dir => File::Spec->rel2abs($dir) }, $class;
}

# known returns the remembered checkpoints of a policy's logs.
sub known {
    my ($self, $policy) = @_;
    my %seen;
    return grep { defined } map { $self->load($_) } grep { !$seen{$_}++ } map { $_->{key}->name } $policy->logs;
}

sub folder { return File::Spec->catdir($_[0]{dir}, sha256_hex($_[1])) }

# load returns the remembered checkpoint of a log, or undef. One that is there and cannot be read is an error: without
# it, whoever damaged it could show another log.
sub load {
    my ($self, $origin) = @_;
    my $file = File::Spec->catfile($self->folder($origin), 'checkpoint');
    if (!-e $file) {
        local_failure("the remembered checkpoint of $origin: $file: $!") if !$!{ENOENT};
        return;
    }
    return checked($origin, $file, read_bounded($file, $CPAN::TLog::Note::MAX_SIZE + 1));
}

sub checked {
    my ($origin, $file, $bytes) = @_;
    my $note  = eval { CPAN::TLog::Note->parse($bytes) };
    my $wrong = !$note ? CPAN::TLog::Error->caught($@)->message
        : $note->origin ne $origin ? 'found a checkpoint of ' . $note->origin
        :                            undef;
    local_failure("the remembered checkpoint is damaged: $file should hold one of $origin: $wrong. "
        . 'Look for a backup of the file and put it back. Delete it only if you accept that nothing remains to '
        . 'compare the log with') if defined $wrong;
    return $bytes;
}

# remember compares a tree with what is remembered of its log, and remembers the newer one. It returns evidence if the
# log contradicts itself.
sub remember {
    my ($self, $policy, $tree) = @_;
    my $origin = $tree->opened->origin;

    # Between the comparison and the lock somebody else may have saved another one: compare with that.
    for (1 .. 10) {
        my $old = $self->load($origin);
        if (defined $old) {
            my ($newer, $evidence) = continues($policy, $tree, $old);
            return $evidence if !$newer;
        }
        return if $self->save($origin, $old, $tree->note->bytes);
    }
    local_failure("cannot remember the checkpoint of $origin: others change it all the time");
}

# continues returns whether a tree is newer than a remembered checkpoint and continues its tree, and if it contradicts
# it, evidence. An older tree is no error if witnesses vouch for it: a copy lags, and they cosign no two histories.
# Without them nothing rules out that it is a fork of a smaller size, and who has the older tree cannot show the contrary.
sub continues {
    my ($policy, $tree, $old) = @_;
    my $after = $tree->note;
    return 0 if $old eq $after->bytes;
    my $opened = eval { $policy->open($old) };
    if (!$opened) {
        my $error = CPAN::TLog::Error->caught($@);
        return 1 if $error->kind eq 'unknown-log';    # the policy has other keys: it says nothing under it
        local_failure('the remembered checkpoint: ' . $error->message);
    }
    my $before = $opened->note;
    my $order  = compare_decimals($before->size, $after->size);
    CPAN::TLog::Error->throw(incomplete => 'it is older than the tree that was seen before (size %s, and before '
        . 'size %s), and the policy names no witnesses that would rule out a fork', $after->size, $before->size)
        if $order > 0 && $policy->quorum_none;
    return 0 if $order > 0;
    my $evidence;
    if ($order == 0) {
        return 0 if $before->root eq $after->root;
        $evidence = CPAN::TLog::Evidence->of_roots($before, $after);
    }
    else {
        my $prefix = $tree->prefix_root($before->size);
        return 1 if $prefix eq $before->root;
        $evidence = CPAN::TLog::Evidence->of_prefix($before, $after, $prefix, $tree->consistency($before->size));
    }
    CPAN::TLog::Error->throw(invalid => 'the remembered checkpoint differs, and the log signed it with ML-DSA only, which '
        . 'this program cannot verify') if !$opened->is_signed;
    return (0, $evidence);
}

# save replaces a remembered checkpoint, as pauselog does: under a lock, whole, and only if it is the one that was
# compared with. It returns whether it was.
sub save {
    my ($self, $origin, $old, $note) = @_;
    my $dir  = $self->folder($origin);
    my $what = "cannot remember the checkpoint of $origin";
    File::Path::make_path($dir, { mode => oct 700, error => \my $errors });
    local_failure("$what: $dir cannot be made") if !-d $dir;
    open my $lock, '+>>', File::Spec->catfile($dir, 'lock') or local_failure("$what: $dir: $!");
    flock $lock, LOCK_EX or local_failure("$what: $dir: $!");
    my $current = $self->load($origin);
    return 0 if ($current // q{}) ne ($old // q{});
    write_whole($dir, 'checkpoint', $note);
    close $lock or local_failure("$what: $dir: $!");
    return 1;
}

# write_whole writes a file so that a crash leaves the old one or the new one, or a temporary file besides, of a name
# under which pauselog removes it.
sub write_whole {
    my ($dir, $name, $bytes) = @_;
    my $file = File::Spec->catfile($dir, $name);
    my $temp = File::Temp->new(DIR => $dir, TEMPLATE => ".$name.XXXXXXXX", SUFFIX => '.tmp', UNLINK => 1);
    binmode $temp;
    print {$temp} $bytes and $temp->flush and $temp->sync or local_failure("$file: $!");
    close $temp or local_failure("$file: $!");
    rename $temp->filename, $file or local_failure("$file: $!");
    $temp->unlink_on_destroy(0);
    return $file;
}

sub local_failure { CPAN::TLog::Error->throw('local', '%s', $_[0]) }

# write_evidence writes an evidence file and returns its name.
sub write_evidence {
    my ($self, $evidence) = @_;
    my $dir = File::Spec->catdir($self->{dir}, 'evidence');
    File::Path::make_path($dir, { mode => oct 700, error => \my $errors });
    CPAN::TLog::Error->throw('local', "$dir cannot be made") if !-d $dir;
    return write_whole($dir, $evidence->file_name, $evidence->text);
}

1;

__END__

=encoding utf8

=head1 NAME

CPAN::TLog::Memory - the newest checkpoints that were seen of logs

=head1 DESCRIPTION

C<pauselog> remembers the newest checkpoint of each log, so that a log cannot show one reader two histories. This module
reads and writes the same folder, in the same way.

=head1 METHODS

=head2 new($dir)

The folder, or that of the user: F<pauselog> in C<$XDG_STATE_HOME>, which is F<~/.local/state> if it is not set. Undef if
there is none.

=head2 known($policy)

The remembered checkpoints of the policy's logs. Dies if one is damaged.

=head2 remember($policy, $tree)

Compares a L<CPAN::TLog::Tree> with what is remembered of its log. One that is newer and continues it is remembered. One
that contradicts it makes a L<CPAN::TLog::Evidence>, which is returned; otherwise nothing is. One that is older is no
error, because copies lag, unless the policy has no witnesses: then it dies, because it could be a fork.

=head2 load($origin), save($origin, $old, $note)

The remembered checkpoint of one log; and its replacement, if the old one is what is remembered still.

=head2 write_evidence($evidence)

Writes a L<CPAN::TLog::Evidence> into the folder's F<evidence>, and returns the file's name.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
