"""What `_lifecycle` refuses."""


class LifecycleError(Exception):
    """A lifecycle call that cannot be done; the text is Fabric's, `status` the response's."""

    def __init__(self, text: str, status: int = 500) -> None:
        super().__init__(text)
        self.text = text
        self.status = status
