package CPAN::TLog::Memory;

use 5.016;
use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use File::Path ();
use File::Spec;
use File::Temp ();

use CPAN::TLog::Error;
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

# known returns the remembered checkpoints of a policy's logs. One that is there and cannot be read is an error:
# without it, whoever damaged it could show another log.
sub known {
    my ($self, $policy) = @_;
    my (@notes, %seen);
    for my $origin (grep { !$seen{$_}++ } map { $_->{key}->name } $policy->logs) {
        my $file = File::Spec->catfile($self->{dir}, sha256_hex($origin), 'checkpoint');
        if (!-e $file) {
            CPAN::TLog::Error->throw('local', "the remembered checkpoint of $origin: $file: $!") if !$!{ENOENT};
            next;
        }
        my $bytes = read_bounded($file, $CPAN::TLog::Note::MAX_SIZE + 1);
        my $note  = eval { CPAN::TLog::Note->parse($bytes) };
        my $wrong = !$note ? CPAN::TLog::Error->caught($@)->message
            : $note->origin ne $origin ? 'found a checkpoint of ' . $note->origin
            :                            undef;
        CPAN::TLog::Error->throw('local', "the remembered checkpoint is damaged: $file should hold one of $origin: $wrong. "
            . 'Look for a backup of the file and put it back. Delete it only if you accept that nothing remains to '
            . 'compare the log with') if defined $wrong;
        push @notes, $bytes;
    }
    return @notes;
}

# write_evidence writes an evidence file and returns its name.
sub write_evidence {
    my ($self, $evidence) = @_;
    my $dir = File::Spec->catdir($self->{dir}, 'evidence');
    File::Path::make_path($dir, { mode => oct 700, error => \my $errors });
    CPAN::TLog::Error->throw('local', "$dir cannot be made") if !-d $dir;
    my $file = File::Spec->catfile($dir, $evidence->file_name);
    my $temp = File::Temp->new(DIR => $dir, TEMPLATE => '.evidence-XXXXXXXX', UNLINK => 1);
    binmode $temp;
    print {$temp} $evidence->text or CPAN::TLog::Error->throw('local', "$file: $!");
    close $temp or CPAN::TLog::Error->throw('local', "$file: $!");
    rename $temp->filename, $file or CPAN::TLog::Error->throw('local', "$file: $!");
    $temp->unlink_on_destroy(0);
    return $file;
}

1;

__END__

=encoding utf8

=head1 NAME

CPAN::TLog::Memory - the newest checkpoints that were seen of logs

=head1 DESCRIPTION

C<pauselog> remembers the newest checkpoint of each log, so that a log cannot show one reader two histories. This module
reads that folder, and changes nothing in it but for adding evidence.

=head1 METHODS

=head2 new($dir)

The folder, or that of the user: F<pauselog> in C<$XDG_STATE_HOME>, which is F<~/.local/state> if it is not set. Undef if
there is none.

=head2 known($policy)

The remembered checkpoints of the policy's logs. Dies if one is damaged.

=head2 write_evidence($evidence)

Writes a L<CPAN::TLog::Evidence> into the folder's F<evidence>, and returns the file's name.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
