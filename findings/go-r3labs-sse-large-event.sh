#!/usr/bin/env bash
# Go github.com/r3labs/sse/v2 v2.10.0: behind an event above 64 KiB a subscription begins again and again, without an error.
# Guess: a limit of the reader is an error that the caller sees, and the id that was read last is sent when it reconnects.
# Seen: the large event never comes, nor what follows it; the event before it comes once per connection; SubscribeRaw goes on.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >go.mod <<'E'
module probe

go 1.21

require github.com/r3labs/sse/v2 v2.10.0
E
cat >main.go <<'E'
package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/r3labs/sse/v2"
)

func main() {
	body := "id: 1\ndata: small\n\nid: 2\ndata: " + strings.Repeat("x", 70000) + "\n\nid: 3\ndata: small\n\n"
	server := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, _ *http.Request) {
		answer.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(answer, body)
	}))
	events, ended := make(chan string, 100), make(chan error, 1)
	go func() {
		ended <- sse.NewClient(server.URL).SubscribeRaw(func(event *sse.Event) { events <- string(event.ID) })
	}()
	limit := time.After(30 * time.Second)
	for seen := 0; seen < 3; seen++ {
		select {
		case id := <-events:
			fmt.Println("event", id)
		case err := <-ended:
			fmt.Println("ended", err)
			return
		case <-limit:
			fmt.Println("nothing more")
			return
		}
	}
}
E
export GOFLAGS=-mod=mod
timeout 300 go run . | tee seen
diff seen - <<'E'
event 1
event 1
event 1
E
