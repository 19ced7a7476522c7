"""What is true: the records on the wire, the topics they live on, and the pure rules that meter, report and archive share."""
