package CPAN::TLog::Files;

use 5.016;
use strict;
use warnings;

use Cwd ();
use File::Spec;

use CPAN::TLog::Error;
use CPAN::TLog::File qw(read_bounded);
use CPAN::TLog::HTTP;

our $VERSION = '0.001';

# at is the folder or the URL that is named so.
sub at {
    my ($class, $place) = @_;
    if ($place =~ m{\Afile://(?:localhost)?(/.*)\z}ais) {
        (my $dir = $1) =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ge;
        return bless { name => $place, dir => $dir }, $class;
    }
    return bless { name => $place, dir => $place }, $class if $place !~ m{\A[A-Za-z][A-Za-z0-9+.-]*://}a;
    my ($scheme) = CPAN::TLog::HTTP::parts($place);
    CPAN::TLog::Error->throw(unreachable => 'expected a URL like https://mirror.example/CPAN/modules/tlog, found %s', $place)
        if !defined $scheme || $scheme !~ /\Ahttps?\z/a || $place =~ /[^\x21-\x7E]|[?#]/;
    return bless { name => $place, url => $place =~ s{/*\z}{/}r }, $class;
}

sub name { return $_[0]{name} }

# get returns a file's bytes, or undef if there is no such file. The name is a relative path of a proof tree.
sub get {
    my ($self, $name, $limit) = @_;
    return defined $self->{url} ? $self->page($name, $limit) : $self->file($name, $limit);
}

sub page {
    my ($self, $name, $limit) = @_;
    my %answer = CPAN::TLog::HTTP::get($self->{url} . $name, limit => $limit);
    return $answer{body} if defined $answer{body};
    return if $answer{gone};
    CPAN::TLog::Error->throw($answer{too_large} ? 'invalid' : 'unreachable', $answer{why});
}

# file reads nothing outside of the folder, wherever a symbolic link in it leads, and waits for no pipe.
sub file {
    my ($self, $name, $limit) = @_;
    my $file = File::Spec->catfile($self->{dir}, split m{/}, $name);
    if (!stat $file) {
        return if $!{ENOENT} || $!{ENOTDIR};
        CPAN::TLog::Error->throw(unreachable => '%s', "$file: $!");
    }
    CPAN::TLog::Error->throw(invalid => '%s is no regular file', $file) if !-f _;
    my ($root, $real) = map { Cwd::realpath($_) } $self->{dir}, $file;
    my $inside = defined $root && defined $real ? File::Spec->abs2rel($real, $root) : File::Spec->updir;
    CPAN::TLog::Error->throw(invalid => '%s leads out of its folder', $file)
        if File::Spec->file_name_is_absolute($inside) || (File::Spec->splitdir($inside))[0] eq File::Spec->updir;
    my $bytes = eval { read_bounded($real, $limit + 1) }
        // CPAN::TLog::Error->throw(unreachable => '%s', CPAN::TLog::Error->caught($@)->message);
    CPAN::TLog::Error->throw(invalid => '%s has more than %d bytes', $file, $limit) if length $bytes > $limit;
    return $bytes;
}

1;

__END__

=encoding utf8

=head1 NAME

CPAN::TLog::Files - the files of a proof tree, in a folder or below a URL

=head1 DESCRIPTION

Nothing that is read is trusted. No file can be larger than it may be, a redirect leads to no other host, and a
symbolic link to no other folder.

=head1 METHODS

=head2 at($place)

A folder, or a URL that begins with C<file:>, C<http:> or C<https:>. Nothing is opened yet.

=head2 get($name, $limit)

Returns a file's bytes, or undef if there is none of that name. Dies with a L<CPAN::TLog::Error> of kind C<invalid> if it
has more bytes than the limit or is no file, and of kind C<unreachable> if that cannot be found out now.

=head2 name

The folder or the URL.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
