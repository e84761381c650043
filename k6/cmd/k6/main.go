// Command k6 is k6 with the extensions of this suite: k6/x/eventsource and k6/x/redis.
package main

import (
	"go.k6.io/k6/cmd"

	_ "fantail/k6"
	_ "github.com/grafana/xk6-redis"
)

func main() { cmd.Execute() }
