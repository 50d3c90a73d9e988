package hostile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

const submitPath = "/pauselog.v1.Log/Submit"

// bypass tries to submit without the right to, through both front doors. None may succeed, and nothing may be logged.
func bypass(ctx context.Context, t *target, _ scale, s *score) error {
	const path = "authors/id/E/EV/EVIL/Bypass-1.tar.gz"
	evil := submission(path, []byte("evil"))
	// Field names as protojson's are: of one word each.
	body, err := json.Marshal(map[string]any{"submission": map[string]any{"kind": evil.Kind, "path": evil.Path, "sha256": evil.Sha256,
		"size": "4", "time": evil.Time, "by": evil.By, "seen": evil.Seen}})
	if err != nil {
		return err
	}
	if err := bypassHTTP(ctx, t, s, string(body)); err != nil {
		return err
	}
	conn, err := dial(t)
	if err != nil {
		return err
	}
	defer conn.Close()
	client := pb.NewLogClient(conn)
	good := "Bearer " + t.token
	for name, pairs := range map[string][]string{
		"no token": {}, "an empty one": {"authorization", ""}, "no secret": {"authorization", "Bearer"}, "an empty secret": {"authorization", "Bearer "},
		"another scheme": {"authorization", "Basic " + t.token}, "no scheme": {"authorization", t.token}, "a wrong one": {"authorization", good + "x"},
		"a cut one": {"authorization", good[:len(good)-1]}, "the secret in capitals": {"authorization", "Bearer " + strings.ToUpper(t.token)},
		"two, one of them good": {"authorization", "Bearer x", "authorization", good}, "two good ones": {"authorization", good, "authorization", good},
		"two in one": {"authorization", "Bearer x, " + good}, "two spaces": {"authorization", "Bearer  " + t.token},
		"another header": {"x-authorization", good, "grpc-metadata-authorization", good, "proxy-authorization", good, "cookie", "authorization=" + good},
		"in bytes":       {"authorization-bin", good},
	} {
		s.inputs.Add(2)
		ctx := metadata.AppendToOutgoingContext(ctx, pairs...)
		_, err := client.Submit(ctx, &pb.SubmitRequest{Submission: evil})
		if status.Code(err) != codes.Unauthenticated {
			return fmt.Errorf("over gRPC with %s: %v, expected Unauthenticated", name, err)
		}
		stream, err := client.SubmitStream(ctx)
		if err == nil {
			err = stream.Send(&pb.SubmitStreamRequest{Submissions: []*pb.Submission{evil}})
			_, recvErr := stream.Recv()
			err = errors.Join(recvErr, err)
			if recvErr != nil {
				err = recvErr // what Send says is only that there is more to know
			}
		}
		if status.Code(err) != codes.Unauthenticated {
			return fmt.Errorf("in a stream over gRPC with %s: %v, expected Unauthenticated", name, err)
		}
		s.refused.Add(2)
	}
	for _, method := range []string{"/pauselog.v1.Log/submit", "/pauselog.v1.log/Submit", "//pauselog.v1.Log/Submit", "/pauselog.v1.Log/Submit/", "/pauselog.v1.Log/./Submit", "/Submit", "Submit"} {
		s.inputs.Add(1)
		if err := conn.Invoke(ctx, method, &pb.SubmitRequest{Submission: evil}, new(pb.SubmitResponse)); err == nil {
			return fmt.Errorf("gRPC method %q submits without a token", method)
		}
		s.refused.Add(1)
	}
	// Nothing of it is there.
	found, err := client.Lookup(ctx, &pb.LookupRequest{By: &pb.LookupRequest_Path{Path: path}})
	if err != nil {
		return err
	}
	if len(found.Entries) > 0 {
		return fmt.Errorf("%s was logged without a token", path)
	}
	return nil
}

func bypassHTTP(ctx context.Context, t *target, s *score, body string) error {
	good := "Authorization: Bearer " + t.token
	post := func(path string, headers ...string) string {
		return requestWith("POST", path, body, append(headers, "Content-Type: application/json")...)
	}
	for name, c := range map[string]struct {
		request string
		want    int // 0: any refusal
	}{
		"no token":                      {post(submitPath), 401},
		"no secret":                     {post(submitPath, "Authorization: Bearer"), 401},
		"another scheme":                {post(submitPath, "Authorization: Basic "+t.token), 401},
		"no scheme":                     {post(submitPath, "Authorization: "+t.token), 401},
		"a wrong one":                   {post(submitPath, good+"x"), 401},
		"the secret in capitals":        {post(submitPath, "Authorization: Bearer "+strings.ToUpper(t.token)), 401},
		"two headers, the last is good": {post(submitPath, "Authorization: Bearer x", good), 401},
		"two headers, the first is":     {post(submitPath, good, "Authorization: Bearer x"), 401},
		"two in one":                    {post(submitPath, "Authorization: Bearer x, Bearer "+t.token), 401},
		"headers of proxies":            {post(submitPath, "X-Authorization: Bearer "+t.token, "X-Forwarded-User: pause", "X-Forwarded-For: 127.0.0.1", "X-Real-IP: 127.0.0.1", "X-Forwarded-Client-Cert: Subject=pause", "X-SSL-Client-Verify: SUCCESS"), 401},
		"metadata of other bridges":     {post(submitPath, "Grpc-Metadata-Authorization: Bearer "+t.token), 401},
		"a cookie":                      {post(submitPath, "Cookie: authorization=Bearer "+t.token+"; token="+t.token), 401},
		"a token in the query":          {post(submitPath + "?access_token=" + t.token + "&authorization=Bearer+" + t.token), 400},
		"GET":                           {request("GET", submitPath+"?submission.kind=upload"), 405},
		"GET, and the method elsewhere": {request("GET", submitPath, "X-HTTP-Method-Override: POST", "X-HTTP-Method: POST"), 405},
		"a method in small letters":     {requestWith("post", submitPath, body), 405},
		"PUT":                           {requestWith("PUT", submitPath, body), 405},
		"another case of the method":    {post("/pauselog.v1.Log/submit"), 404},
		"another case of the service":   {post("/PAUSELOG.V1.LOG/Submit"), 0},
		"two slashes":                   {post("//pauselog.v1.Log/Submit"), 0},
		"a slash at the end":            {post(submitPath + "/"), 404},
		"dots":                          {post("/tile/../pauselog.v1.Log/Submit"), 0},
		"an encoded letter":             {post("/pauselog.v1.Log/%53ubmit"), 0},
		"an encoded slash":              {post("/pauselog.v1.Log%2fSubmit"), 0},
		"a parameter":                   {post("/pauselog.v1.Log/Submit;x=y"), 404},
		"grpc-web":                      {requestWith("POST", submitPath, "\x00\x00\x00\x00\x00", "Content-Type: application/grpc-web+proto"), 415},
		"gRPC over HTTP/1":              {requestWith("POST", submitPath, "\x00\x00\x00\x00\x00", "Content-Type: application/grpc", "TE: trailers"), 415},
		"connect":                       {requestWith("POST", submitPath, body, "Content-Type: application/connect+json", "Connect-Protocol-Version: 1"), 415},
		"protobuf":                      {requestWith("POST", submitPath, "\x0a\x00", "Content-Type: application/proto"), 415},
		"a form":                        {requestWith("POST", submitPath, "submission.kind=upload", "Content-Type: application/x-www-form-urlencoded"), 415},
		"the other address's upgrade":   {post(submitPath, "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"), 401},
	} {
		a, err := ask(ctx, t, s, c.request)
		if err != nil {
			return fmt.Errorf("over HTTP with %s: %w", name, err)
		}
		if a.status < 400 || a.status >= 500 || c.want != 0 && a.status != c.want {
			return fmt.Errorf("over HTTP with %s: status %d, expected %d (0: any of 4xx): %.300s", name, a.status, c.want, a.body)
		}
	}
	return nil
}
