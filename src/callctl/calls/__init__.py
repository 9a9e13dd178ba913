"""What Twilio says of calls, as data: resources, callbacks, the board that is folded from them."""
