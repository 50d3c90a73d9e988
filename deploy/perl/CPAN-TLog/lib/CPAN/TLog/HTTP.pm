package CPAN::TLog::HTTP;

use 5.016;
use strict;
use warnings;

use CPAN::TLog;
use CPAN::TLog::Encoding qw(plain);

our $VERSION = '0.001';

# In seconds: for the next byte, and for all of them.
our $TIMEOUT = 20;
our $TIME    = 60;

my $MAX_REDIRECTS = 3;

# get fetches a page of at most limit bytes. It returns a hash: the body; or why there is none, and gone if the server
# says that there is no such page, or too_large. Redirects are followed to the same host alone, or, with elsewhere,
# to any.
sub get {
    my ($url, %option) = @_;
    my $first = $url;
    for my $redirects (0 .. $MAX_REDIRECTS) {
        my %answer = ask($url, $option{limit});
        my $next   = $answer{location};
        return %answer if !defined $next;
        $next = resolved($url, $next);
        my $why = !defined $next ? 'a redirect to no page'
            : $redirects == $MAX_REDIRECTS ? "more than $MAX_REDIRECTS redirects"
            : $option{elsewhere}           ? undef
            :                                elsewhere($first, $url, $next);
        return (why => plain("$url: $why")) if defined $why;
        $url = $next;
    }
    return;
}

# elsewhere says what is wrong with a redirect that should lead to the same host, and never away from TLS.
sub elsewhere {
    my ($first, $from, $to) = @_;
    my ($scheme, $host) = parts($to);
    return "a redirect to another host, $host" if $host ne (parts($first))[1];
    return 'a redirect from https to http' if $scheme ne 'https' && (parts($from))[0] eq 'https';
    return;
}

sub ask {
    my ($url, $limit) = @_;

    # Loading it takes longer than verifying a file, and most runs have all that they need on this machine.
    require HTTP::Tiny;
    my $end = time + $TIME;
    my ($body, $too_large) = (q{}, 0);
    my $client = HTTP::Tiny->new(
        agent => "CPAN-TLog/$CPAN::TLog::VERSION ", timeout => $TIMEOUT, max_size => 65_536, max_redirect => 0,
        verify_SSL => 1,
    );
    my $answer = $client->get($url, { data_callback => sub {
        my ($data) = @_;

        # What does not compress is a little longer in gzip.
        $too_large = length($body) + length $data > $limit + int($limit / 1000) + 1024;
        die "more than $limit bytes\n" if $too_large;
        die "it takes more than $TIME seconds\n" if time > $end;
        $body .= $data;
    } });
    my ($status, $header) = @{$answer}{qw(status headers)};
    return decoded($url, $body, $limit, $header->{'content-encoding'}) if $status eq '200';
    return (location => $header->{location}) if $status =~ /\A30[12378]\z/a && defined $header->{location};
    my $said = $answer->{content} // q{};
    my $why  = $status ne '599'   ? "$status " . ($answer->{reason} // q{})
        : $said =~ /IO::Socket::SSL|Net::SSLeay/ && !eval { require IO::Socket::SSL; 1 }
        ? 'https needs the module IO::Socket::SSL, which is not installed'
        : $said;
    $why =~ s/\s+/ /g;
    return (why => plain("$url: $why"), gone => $status =~ /\A4(?:04|10)\z/a ? 1 : 0, too_large => $too_large,
        content => $status eq '599' ? q{} : $said);
}

# decoded undoes gzip, which a server may send without being asked (C2SP tlog-tiles).
sub decoded {
    my ($url, $body, $limit, $encoding) = @_;
    my @too_large = (why => plain("$url: more than $limit bytes"), too_large => 1);
    return length $body > $limit ? @too_large : (body => $body)
        if !defined $encoding || $encoding =~ /\A(?:identity)?\z/ai;
    return (why => plain("$url: it is sent in an encoding that was not asked for")) if $encoding !~ /\Agzip\z/ai;
    require IO::Uncompress::Gunzip;
    my $text = q{};
    my $in   = IO::Uncompress::Gunzip->new(\$body, MultiStream => 1, Transparent => 0);
    while ($in) {
        my $read = $in->read($text, 65_536, length $text);
        return (body => $text) if defined $read && $read == 0;
        last if !defined $read || $read < 0;
        return @too_large if length $text > $limit;
    }
    return (why => plain("$url: it is no gzip"));
}

# parts returns scheme and host of a URL, or nothing.
sub parts {
    my ($url) = @_;
    my ($scheme, $host) = $url =~ m{\A([a-z]+)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]+)?(?:/|\z)}a;
    return defined $host ? ($scheme, lc $host) : ();
}

sub is_this_machine { return scalar $_[0] =~ /\A(?:localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])\z/a }

# resolved is where a redirect leads to, or undef.
sub resolved {
    my ($url, $location) = @_;
    $location =~ s/#.*//s;
    my ($scheme, $rest) = $url =~ m{\A(https?):(//[^/]+)}a or return;
    my $next = $location =~ m{\A[A-Za-z][A-Za-z0-9+.-]*:}a ? $location
        : $location =~ m{\A//}a ? "$scheme:$location"
        : $location =~ m{\A/}a  ? "$scheme:$rest$location"
        :                         ($url =~ s{[^/]*\z}{}r) . $location;
    return if $next =~ /[^\x21-\x7E]/ || !parts($next) || $next !~ /\Ahttps?:/a;
    return $next;
}

sub escaped {
    my ($path) = @_;
    $path =~ s/([^A-Za-z0-9\/._~-])/sprintf '%%%02X', ord $1/ge;
    return $path;
}

1;

__END__

=encoding utf8

=head1 NAME

CPAN::TLog::HTTP - pages of bounded size, in bounded time

=head1 DESCRIPTION

L<HTTP::Tiny> with limits. Addresses that begin with C<https> need L<IO::Socket::SSL>, and the server's certificate is
checked.

=head1 FUNCTIONS

=head2 get($url, limit => $bytes, elsewhere => $boolean)

Returns a list of pairs: C<body>; or C<why> there is none, C<gone> if the server says that there is no such page,
C<too_large>, and the C<content> of an error's page. Redirects are followed on the same host; with C<elsewhere>,
anywhere.

=head2 parts($url), is_this_machine($host)

Scheme and host of a URL, or nothing; and whether the host is this machine.

=head2 escaped($path)

A path as URLs have it.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
