#!/usr/bin/env bash
# Go github.com/alicebob/miniredis/v2 v2.40.0: HELLO names a version whose answers it does not give.
# Guess: a server that says 8.4.0 answers XINFO STREAM with the fields of that version, and knows CLIENT ID.
# Seen: XINFO STREAM has two fields of its sixteen or so, without entries-added and first-entry, though the stream is not empty;
# CLIENT ID is unknown. What a server can do has to be asked, not derived from its version.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >go.mod <<'E'
module probe

go 1.21

require github.com/alicebob/miniredis/v2 v2.40.0
E
cat >main.go <<'E'
package main

import (
	"bufio"
	"fmt"
	"net"
	"regexp"
	"strings"

	"github.com/alicebob/miniredis/v2"
)

func main() {
	server := miniredis.NewMiniRedis()
	if err := server.Start(); err != nil {
		panic(err)
	}
	link, err := net.Dial("tcp", server.Addr())
	if err != nil {
		panic(err)
	}
	answers := bufio.NewReader(link)
	// An ECHO behind the command ends its answer.
	call := func(words ...string) string {
		for _, command := range [][]string{words, {"ECHO", "end-of-answer"}} {
			fmt.Fprintf(link, "*%d\r\n", len(command))
			for _, word := range command {
				fmt.Fprintf(link, "$%d\r\n%s\r\n", len(word), word)
			}
		}
		read := ""
		for {
			line, err := answers.ReadString('\n')
			if err != nil || strings.HasPrefix(line, "end-of-answer") {
				return read
			}
			read += line
		}
	}
	hello := call("HELLO", "3")
	fmt.Println("version", regexp.MustCompile(`version\r\n\$\d+\r\n(\S+)`).FindStringSubmatch(hello)[1])
	call("XADD", "stream", "1-0", "field", "value")
	fields := regexp.MustCompile(`(?m)^[a-z-]+\r$`).FindAllString(call("XINFO", "STREAM", "stream"), -1)
	fmt.Println("XINFO STREAM", strings.ReplaceAll(strings.Join(fields, " "), "\r", ""))
	fmt.Println("CLIENT ID", strings.Fields(call("CLIENT", "ID"))[0])
}
E
export GOFLAGS=-mod=mod
timeout 300 go run . | tee seen
diff seen - <<'E'
version 8.4.0
XINFO STREAM length last-generated-id
CLIENT ID -ERR
E
