"""The CodeAct protocol: how a reply is read (`parse`) and what the teacher is sent (`render`)."""
