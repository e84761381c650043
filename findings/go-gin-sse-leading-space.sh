#!/usr/bin/env bash
# Go github.com/gin-contrib/sse 1.1.0, which is gin's `c.SSEvent`: data loses the space that it begins with.
# Guess: what is written as data is what readers get, the words of a language model with their leading spaces among them.
# Seen: there is no space behind the colon, so readers take the data's own for the one that belongs to the format (WHATWG HTML
# 9.2.6), and the words run together.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >main.go <<'E'
package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/gin-contrib/sse"
)

// As the standard says: one space behind the colon goes.
func read(stream string) string {
	text := ""
	for _, line := range strings.Split(stream, "\n") {
		if data, found := strings.CutPrefix(line, "data:"); found {
			text += strings.TrimPrefix(data, " ")
		}
	}
	return text
}

func main() {
	var stream bytes.Buffer
	for _, word := range []string{"Hello", " my", " friend"} {
		if err := sse.Encode(&stream, sse.Event{Data: word}); err != nil {
			panic(err)
		}
	}
	fmt.Printf("%q\n%q\n", stream.String(), read(stream.String()))
}
E
go mod init probe >log 2>&1 && GOFLAGS=-mod=mod go get github.com/gin-contrib/sse@v1.1.0 >>log 2>&1 || { cat log; exit 1; }
timeout 100 go run . | tee seen
diff seen - <<'E'
"data:Hello\n\ndata: my\n\ndata: friend\n\n"
"Hellomyfriend"
E
