package CPAN::TLog::Entry;

use 5.016;
use strict;
use warnings;

use CPAN::TLog::Encoding qw(is_number quote);
use CPAN::TLog::Error;

our $VERSION = '0.001';

our $FORMAT           = 'pauselog/v1';
our $MAX_SIZE         = 1_024;
our $MAX_UNKNOWN_SIZE = 16 * 1024;
our $MAX_PATH         = 512;

# The lines of each kind after its own: all of them, in this order.
my %LINES = (
    upload   => [qw(path sha256 size time by seen)],
    index    => [qw(path sha256 size time)],
    delete   => [qw(path sha256 time by seen)],
    conflict => [qw(path sha256 other time)],
    void     => [qw(path sha256 index time)],
);

my %CHECK = (
    sha256 => \&is_digest,
    other  => \&is_digest,
    size   => \&is_number,
    index  => \&is_number,
    time   => sub { defined seconds($_[0]) },
    by     => sub { $_[0] eq q{-} || is_pause_id($_[0]) },
    seen   => sub { $_[0] =~ /\A(?:upload|follow|backfill)\z/a },
);

# parse reads an entry that is known to be in the log. It tells bytes that no version could have written from an
# entry that is newer than this program.
sub parse {
    my ($class, $bytes) = @_;
    malformed('%d bytes, expected at most %d', length $bytes, $MAX_UNKNOWN_SIZE) if length $bytes > $MAX_UNKNOWN_SIZE;
    my ($first, $line, $rest) = split /\n/, $bytes, 3;
    malformed('no line feed') if !defined $line;
    if ($first ne $FORMAT) {
        my ($version) = $first =~ /\Apauselog\/v([0-9]+)\z/a;
        newer('its first line is %s, this program knows %s', quote($first), quote($FORMAT))
            if defined $version && is_number($version) && $version ne '0';
        malformed('first line %s, expected %s', quote($first), quote($FORMAT));
    }
    my ($kind) = defined $rest ? $line =~ /\Akind ([a-z][a-z0-9-]{0,31})\z/a : ();
    malformed('second line %s, expected a kind', quote($line)) if !defined $kind;
    newer('kind %s is not known to this program', quote($kind)) if !$LINES{$kind};
    malformed('%d bytes, expected at most %d', length $bytes, $MAX_SIZE) if length $bytes > $MAX_SIZE;

    my $self = bless { kind => $kind, bytes => $bytes }, $class;
    for my $name (@{$LINES{$kind}}) {
        ($line, $rest) = split /\n/, $rest, 2;
        my $prefix = "$name ";
        malformed('expected a line %s, found %s', quote($name), quote($line // q{}))
            if !defined $rest || substr($line, 0, length $prefix) ne $prefix;
        my $value = substr $line, length $prefix;
        malformed('%s: %s is not one', $name, quote($value)) if $CHECK{$name} && !$CHECK{$name}->($value);
        $self->{$name} = $value;
    }
    malformed('%d bytes after the last line of a %s entry', length $rest, $kind) if length $rest;
    my $wrong = $kind eq 'index' ? check_index_path($self->{path}) : check_archive_path($self->{path});
    malformed('%s', $wrong) if $wrong;
    malformed('a conflict needs two digests that differ') if $kind eq 'conflict' && $self->{other} eq $self->{sha256};
    return $self;
}

sub malformed {
    my ($format, @args) = @_;
    CPAN::TLog::Error->throw(malformed => "malformed entry: $format", @args);
}

sub newer {
    my ($format, @args) = @_;
    CPAN::TLog::Error->throw(upgrade => "entry of a newer format: $format", @args);
}

sub kind   { return $_[0]{kind} }
sub path   { return $_[0]{path} }
sub sha256 { return $_[0]{sha256} }
sub size   { return $_[0]{size} // '0' }
sub time   { return $_[0]{time} }          ## no critic (ProhibitBuiltinHomonyms)
sub voided { return $_[0]{index} }
sub bytes  { return $_[0]{bytes} }

sub seconds_since_1970 { return seconds($_[0]{time}) }

sub is_digest { return scalar $_[0] =~ /\A[0-9a-f]{64}\z/a }

# seconds returns when a time like 2026-11-22T10:00:00Z is, or undef if there is no such date from 1970 on.
sub seconds {
    my ($text) = @_;
    my ($year, $month, $day, $hour, $minute, $second) =
        $text =~ /\A([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})Z\z/a;
    return if !defined $second || $year < 1970 || $month < 1 || $month > 12 || $day < 1;
    return if $hour > 23 || $minute > 59 || $second > 59;
    my $leap = ($year % 4 == 0 && $year % 100 != 0) || $year % 400 == 0;
    my @days = (31, $leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31);
    return if $day > $days[$month - 1];
    my $before = $year - 1;
    my $days   = $before * 365 + int($before / 4) - int($before / 100) + int($before / 400) - 719_162 + $day - 1;
    $days += $_ for @days[0 .. $month - 2];
    return (($days * 24 + $hour) * 60 + $minute) * 60 + $second;
}

sub is_pause_id { return scalar $_[0] =~ /\A[A-Z][A-Z0-9-]{1,9}\z/a }

# author returns the PAUSE id in whose directory an archive's path lies, or undef.
sub author {
    my ($path) = @_;
    my ($c, $cc, $id) = $path =~ m{\Aauthors/id/([^/]*)/([^/]*)/([^/]*)/.}as;
    return if !defined $id || !is_pause_id($id) || $c ne substr($id, 0, 1) || $cc ne substr $id, 0, 2;
    return $id;
}

# kind_of returns the kind of entry that makes a file at this path verify, and what is wrong with the path.
sub kind_of {
    my ($path) = @_;
    return ('upload', scalar check_archive_path($path)) if $path =~ m{\Aauthors/id/}a;
    return ('index', scalar check_index_path($path));
}

sub check_path {
    my ($path) = @_;
    return sprintf 'path of %d bytes, expected 1 to %d', length $path, $MAX_PATH
        if !length $path || length $path > $MAX_PATH;
    return sprintf 'path %s has a byte 0x%02x, expected printable ASCII without spaces', quote($path), ord $1
        if $path =~ /([^\x21-\x7E])/;
    return sprintf 'path %s has an empty, "." or ".." segment', quote($path)
        if grep { /\A\.{0,2}\z/a } split m{/}, $path, -1;
    return;
}

sub check_archive_path {
    my ($path) = @_;
    my $wrong = check_path($path);
    return $wrong if $wrong;
    return if defined author($path);
    return sprintf 'path %s does not have the form authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz', quote($path);
}

sub check_index_path {
    my ($path) = @_;
    my $wrong = check_path($path);
    return $wrong if $wrong;
    return if $path =~ m{\A(?:modules|authors)/[^/]+\z}a;
    return sprintf 'path %s does not have the form modules/02packages.details.txt.gz', quote($path);
}

# never_logged returns why a file of this name is not logged by its form, or undef.
sub never_logged {
    my ($path) = @_;
    my $wrong = check_archive_path($path);
    return $wrong if $wrong;
    my ($name) = $path =~ m{([^/]*)\z};
    return 'CHECKSUMS files change and are not logged'                if $name =~ /\ACHECKSUMS/a;
    return 'files that PAUSE extracts from an archive are not logged' if $name =~ /\.(?:meta|readme)\z/a;
    return 'proofs are not logged'                                    if $name =~ /\.tlog-proof\z/a;
    return 'dotfiles are not logged'                                  if $name =~ /\A\./a;
    return 'temporary files are not logged'                           if $name =~ /(?:~|\.tmp|\.part)\z/a;
    $name =~ s/\.(?:gz|bz2)\z//ai;
    return 'documents may be uploaded again under their name and are not logged'
        if $name =~ /(?:readme|\.(?:html|txt|mkdn|md|xml|yml|json|pdf|rdf|pod))\z/ai;
    return;
}

1;

__END__

=encoding utf8

=head1 NAME

CPAN::TLog::Entry - what the log has of a file

=head1 SYNOPSIS

    my $entry = CPAN::TLog::Entry->parse($bytes);
    printf "%s has sha256 %s\n", $entry->path, $entry->sha256 if $entry->kind eq 'upload';

=head1 DESCRIPTION

An entry is text:

    pauselog/v1
    kind upload
    path authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz
    sha256 3300d31d8a4075b26d8f46ce864a1d913e0e8467ceeba6655d5d2b2e206c11be
    size 35784
    time 2026-11-22T10:00:00Z
    by ETHER
    seen upload

Each kind (upload, index, delete, conflict, void) has one fixed list of lines, and each value one encoding.

=head1 METHODS

=head2 parse($bytes)

Returns the entry, or dies with a L<CPAN::TLog::Error> of kind C<malformed>, or C<upgrade> if it is of a version or
kind that this program does not know.

=head2 kind, path, sha256, size, time, voided, bytes

Its values; C<voided> is the index that a void names.

=head2 seconds_since_1970

The time as a number.

=head1 FUNCTIONS

=head2 kind_of($path)

The kind of entry that makes a file at this path verify, and undef or what is wrong with the path.

=head2 author($path), never_logged($path)

The PAUSE id of an archive's path; and why a file of that name is not logged.

=head2 seconds($time)

The seconds since 1970 of a time as entries have it, or undef.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
