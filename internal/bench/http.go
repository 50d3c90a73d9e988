package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"google.golang.org/protobuf/encoding/protojson"

	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// connections is how many there are at once over HTTP; each has one entry on its way.
const connections = 512

// mostHTTP is how many entries one row posts at most.
const mostHTTP = 50_000

var rowHTTP = fmt.Sprintf("%d connections, one entry a request, JSON", connections)

// A poster posts entries to some address, one a request, by HTTP/1.1 over connections that stay open.
type poster struct {
	client http.Client
	url    string
	header http.Header
}

func newPoster(url string, header http.Header) *poster {
	return &poster{http.Client{Transport: &http.Transport{MaxIdleConns: connections, MaxIdleConnsPerHost: connections, DisableCompression: true}}, url, header}
}

func (p *poster) post(ctx context.Context, body []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header = p.header
	resp, err := p.client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, answer)
	}
	return err
}

// httpAppends: one entry a request, to the log and to Tessera, by the same client.
func (b *bench) httpAppends(ctx context.Context) error {
	entries := b.corpus(b.atMost(mostHTTP))
	bodies := make([][]byte, len(entries))
	for i, s := range submissions(entries) {
		var err error
		if bodies[i], err = protojson.Marshal(&pb.SubmitRequest{Submission: s, Wait: pb.Wait_WAIT_SEQUENCED}); err != nil {
			return err
		}
	}
	d, err := b.newFolder("http")
	if err != nil {
		return err
	}
	s, err := b.serve(ctx, d, "")
	if err != nil {
		return err
	}
	perSecond, err := b.posts(ctx, "http-append/log", bodies, newPoster("http://"+s.http+"/pauselog.v1.Log/Submit",
		http.Header{"Authorization": {"Bearer " + d.secret}, "Content-Type": {"application/json"}}))
	if err := errors.Join(err, s.close(), d.remove()); err != nil {
		return err
	}
	b.add("http-append", rowHTTP, "/s", perSecond)
	if b.program == "" {
		return nil
	}
	return b.peerHTTP(ctx)
}

func (b *bench) posts(ctx context.Context, row string, bodies [][]byte, p *poster) (float64, error) {
	defer p.client.CloseIdleConnections()
	return b.rate(ctx, row, connections, len(bodies), func(i int) error { return p.post(ctx, bodies[i]) })
}

// peerHTTP: the same to a server like Tessera's example, whose body is the entry.
func (b *bench) peerHTTP(ctx context.Context) error {
	entries := b.corpus(b.atMost(mostHTTP))
	bodies := make([][]byte, len(entries))
	for i := range entries {
		var err error
		if bodies[i], err = entries[i].Marshal(); err != nil {
			return err
		}
	}
	for _, persist := range []bool{true, false} {
		what := "without deduplication"
		if persist {
			what = "persistent deduplication"
		}
		t := overHTTP
		t.Persist = persist
		var perSecond float64
		r, err := b.onPeer(ctx, "http", t, func(address string) (err error) {
			perSecond, err = b.posts(ctx, "http-append/tessera", bodies, newPoster("http://"+address+"/add", nil))
			return err
		})
		if err != nil {
			return err
		}
		r.Figures["rate"] = perSecond
		if err := b.addPeer("http-append", fmt.Sprintf("%d connections, one entry a request, %s", connections, what), "/s", r, "rate"); err != nil {
			return err
		}
	}
	return nil
}
