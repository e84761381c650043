package eventsource

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
)

// What is read of a refusal's body to learn its code.
const problemBytesMax = 4096

// failure is why a connection did not open, or ended.
type failure struct {
	err    error
	status int
	// code is the tag of sse_errors; empty for an end that is no error.
	code string
	// final is the outcome's reason where the standard forbids to reconnect; else empty.
	final string
}

// connectFailure is of a connection that never had a head; browsers try again.
func connectFailure(err error) *failure { return &failure{err: err, code: codeOf(err)} }

// lossOf is of a connection that was open.
func lossOf(err error) *failure {
	switch {
	case errors.Is(err, errEnd), errors.Is(err, errCut):
		return &failure{err: err, status: http.StatusOK}
	case errors.Is(err, errTooLarge):
		return &failure{err: err, status: http.StatusOK, code: "event_too_large", final: "failed"}
	default:
		return &failure{err: err, status: http.StatusOK, code: "cut"}
	}
}

// refusalOf is nil for the head of an event stream. Everything else ends an EventSource for good (WHATWG HTML 9.2.3).
func refusalOf(response *http.Response) *failure {
	status := response.StatusCode
	if status == http.StatusNoContent {
		return &failure{err: errors.New("204: the server asks to stop"), status: status, final: "stopped"}
	}
	kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if status != http.StatusOK {
		code := "http_" + strconv.Itoa(status)
		if kind == "application/problem+json" {
			code = problemCode(response.Body, code)
		}
		return &failure{err: fmt.Errorf("%d: %s", status, code), status: status, code: code, final: "refused"}
	}
	// Its parameters, however wrong, make no difference (WHATWG HTML 9.2.3).
	essence, _, _ := strings.Cut(response.Header.Get("Content-Type"), ";")
	if !strings.EqualFold(strings.TrimSpace(essence), "text/event-stream") {
		err := fmt.Errorf("the content type is %q, expected text/event-stream", essence)
		return &failure{err: err, status: status, code: "content_type", final: "refused"}
	}
	switch encoding := response.Header.Get("Content-Encoding"); encoding {
	case "", "identity", "gzip":
		return nil
	default:
		err := fmt.Errorf("the content encoding %q is not known here", encoding)
		return &failure{err: err, status: status, code: "content_encoding", final: "refused"}
	}
}

// problemCode reads the stable code of Fantail's errors; a word of another form stays out of the tags.
func problemCode(body io.Reader, otherwise string) string {
	var problem struct {
		Code string `json:"code"`
	}
	if json.NewDecoder(io.LimitReader(body, problemBytesMax)).Decode(&problem) != nil {
		return otherwise
	}
	if problem.Code == "" || len(problem.Code) > 40 || strings.Trim(problem.Code, "abcdefghijklmnopqrstuvwxyz_") != "" {
		return otherwise
	}
	return problem.Code
}

// codeOf sorts errors of connecting into few words.
func codeOf(err error) string {
	var dns *net.DNSError
	var verify *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, errCut):
		return ""
	case errors.Is(err, errTimeout), errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.As(err, &dns):
		return "dns"
	case errors.As(err, &verify), errors.As(err, &record):
		return "tls"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection_refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF),
		errors.Is(err, io.ErrUnexpectedEOF):
		return "connection_reset"
	case errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EMFILE):
		return "local_limit"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	default:
		return "connect"
	}
}
