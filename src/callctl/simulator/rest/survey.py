"""A document to send calls to before one has written any: it asks one question, and takes one digit."""

PATH = "/simulator/survey"
QUESTION = (
    '<Response><Gather numDigits="1"><Say>How satisfied were you, from one to five?</Say></Gather>'
    "<Say>Thank you. Goodbye.</Say></Response>"
)
THANKS = "<Response><Say>Thank you. Goodbye.</Say></Response>"
