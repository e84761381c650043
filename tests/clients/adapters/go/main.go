// Adapters for clients in Go; see tests/clients/README.md. The first argument names the library, the second is the order.
package main

import (
	"encoding/json"
	"os"
	"sync"
)

type order struct {
	URL         string            `json:"url"`
	Headers     map[string]string `json:"headers"`
	LastEventID string            `json:"last_event_id"`
}

var out = struct {
	sync.Mutex
	*json.Encoder
}{Encoder: json.NewEncoder(os.Stdout)}

func say(kind string, fields map[string]any) {
	if fields == nil {
		fields = map[string]any{}
	}
	fields["kind"] = kind
	out.Lock()
	defer out.Unlock()
	if err := out.Encode(fields); err != nil {
		panic(err)
	}
}

func event(kind, data, id string) {
	if kind == "" {
		kind = "message"
	}
	say("event", map[string]any{"type": kind, "data": data, "id": id})
}

func failed(status int, err error) {
	fields := map[string]any{"status": nil, "text": err.Error()}
	if status > 0 {
		fields["status"] = status
	}
	say("error", fields)
}

func main() {
	var o order
	if err := json.Unmarshal([]byte(os.Args[2]), &o); err != nil {
		panic(err)
	}
	switch os.Args[1] {
	case "launchdarkly-go":
		launchDarkly(o)
	case "r3labs":
		r3labs(o)
	case "tmaxmax":
		tmaxmax(o)
	default:
		panic("there is no " + os.Args[1])
	}
	say("closed", nil)
}
