// Publishes a few figures of this machine each second, each to a channel of its own.
package main

import (
	"cmp"
	"context"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/redis/go-redis/v9"
)

func main() {
	options, err := redis.ParseURL(cmp.Or(os.Getenv("REDIS_URL"), "redis://127.0.0.1:6379"))
	if err != nil {
		log.Fatal(err)
	}
	go publish(context.Background(), redis.NewClient(options))
	router := gin.Default()
	router.GET("/channels", func(c *gin.Context) { c.JSON(http.StatusOK, figures) })
	router.StaticFile("/", "page/index.html")
	router.StaticFile("/app.js", "page/app.js")
	log.Fatal(router.Run(cmp.Or(os.Getenv("HOST"), "127.0.0.1") + ":3000"))
}

// publish appends all figures of a second in one round trip. Ten minutes of them are kept.
func publish(ctx context.Context, client *redis.Client) {
	before := sample()
	for range time.Tick(time.Second) {
		now := sample()
		_, err := client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for _, figure := range figures {
				pipe.XAdd(ctx, &redis.XAddArgs{
					Stream: "sse:" + figure.Channel, MaxLen: 600, Approx: true,
					Values: []any{"data", figure.value(before, now)},
				})
			}
			return nil
		})
		if err != nil {
			log.Print(err)
		}
		before = now
	}
}
