package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"log/slog"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/pauselog/pauselog/internal/daemon"
	"github.com/pauselog/pauselog/internal/datafolder"
	"github.com/pauselog/pauselog/internal/frontend"
	"github.com/pauselog/pauselog/internal/token"
	"github.com/pauselog/pauselog/log/checkpoint"
	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// addresses is what a serving process says once it is ready.
type addresses struct{ Log, HTTP, Empty string }

// serveBoth is the child's side: the log as pauselogd runs it, and beside it a server whose
// handler has nothing to do.
func serveBoth(ctx context.Context, f *datafolder.Folder, policy string) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	c := daemon.Config{Folder: f, GRPC: "127.0.0.1:0", HTTP: "127.0.0.1:0", Log: log}
	if policy != "" {
		p, err := checkpoint.ParsePolicy([]byte(policy))
		if err != nil {
			return err
		}
		c.Policy = p
	}
	tokens, err := token.Open(f.TokenFile(), log)
	if err != nil {
		return err
	}
	l, err := loopback()
	if err != nil {
		return err
	}
	nothing := new(emptyService)
	empty := grpc.NewServer()
	pb.RegisterLogServer(empty, nothing)
	go empty.Serve(l)
	defer empty.Stop()
	var said error
	c.Auth = authenticator{tokens}
	err = daemon.Run(ctx, c, func(a daemon.Addresses) {
		if nothing.reply, said = someReply(ctx, a.GRPC); said == nil {
			said = json.NewEncoder(os.Stdout).Encode(addresses{Log: a.GRPC, HTTP: a.HTTP, Empty: l.Addr().String()})
		}
	})
	return errors.Join(err, said)
}

// someReply is a reply of the log, for the handler that makes none; nil if the log is empty.
func someReply(ctx context.Context, address string) (*pb.GetInclusionProofResponse, error) {
	conn, err := dial(address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	r, err := pb.NewLogClient(conn).GetInclusionProof(ctx, byIndex(0))
	if status.Code(err) == codes.NotFound {
		return nil, nil
	}
	return r, err
}

func byIndex(i uint64) *pb.GetInclusionProofRequest {
	return &pb.GetInclusionProofRequest{Entry: &pb.GetInclusionProofRequest_Index{Index: i}}
}

func dial(address string, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	return grpc.NewClient(address, append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
}

// authenticator is the tokens of the data folder, as in pauselogd.
type authenticator struct{ tokens *token.Set }

func (a authenticator) Bearer(secret string) (frontend.Permission, error) {
	return a.tokens.Bearer(secret)
}

func (a authenticator) Certificate(c *x509.Certificate) (frontend.Permission, error) {
	return a.tokens.Certificate(c)
}

// An emptyService answers every request for a proof with the same reply, made before.
type emptyService struct {
	pb.UnimplementedLogServer
	reply *pb.GetInclusionProofResponse
}

func (s *emptyService) GetInclusionProof(context.Context, *pb.GetInclusionProofRequest) (*pb.GetInclusionProofResponse, error) {
	return s.reply, nil
}

// A server is the parent's side of serveBoth.
type server struct {
	*process
	log, open, empty    *grpc.ClientConn
	api, reads, nothing pb.LogClient // with a token, without one, and without a log
	http                string       // the address
}

// serve runs a server of a log, with witnesses if there is a policy.
func (b *bench) serve(ctx context.Context, f *folder, policy string) (*server, error) {
	p, err := b.start(ctx, task{Role: serveRole, Dir: f.Dir, Policy: policy})
	if err != nil {
		return nil, err
	}
	text, err := p.line()
	if err != nil {
		return nil, err
	}
	var a addresses
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		return nil, errors.Join(err, p.kill())
	}
	s := &server{process: p, http: a.HTTP}
	log, err1 := dial(a.Log, grpc.WithPerRPCCredentials(bearer(f.secret)))
	open, err2 := dial(a.Log)
	empty, err3 := dial(a.Empty)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, errors.Join(err, p.kill())
	}
	s.log, s.open, s.empty = log, open, empty
	s.api, s.reads, s.nothing = pb.NewLogClient(log), pb.NewLogClient(open), pb.NewLogClient(empty)
	return s, nil
}

// close lets the server drain and end.
func (s *server) close() error {
	return errors.Join(s.log.Close(), s.open.Close(), s.empty.Close(), s.finish())
}

// bearer sends a token with each call.
type bearer string

func (t bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(t)}, nil
}

func (bearer) RequireTransportSecurity() bool { return false } // loopback
