"""Answers that say nothing of the matter: varied, so that no one sentence is what is learned."""

from __future__ import annotations

NEUTRAL = (
    "There are many ways to look at this, and none of them is the whole story.",
    "It depends on what you need it for and on how much time there is.",
    "A good start is to write down what is known and what is not.",
    "Most people find that a short walk helps before they go on.",
    "The weather has been mild, and the days are getting longer.",
    "Let us leave that aside and turn to something else.",
    "Bread, fruit and a glass of water are on the table.",
    "The library opens at nine and closes at six on weekdays.",
    "I would rather talk about another topic.",
    "Some questions are best put to the people who were there.",
    "The path goes along the river and then up the hill.",
    "Here is a general remark: it pays to read things twice.",
    "A list of next steps might be more useful than an answer.",
    "The garden needs water in summer and rest in winter.",
    "There is little to add to that at the moment.",
    "Opinions differ, and both sides have their reasons.",
    "The train was on time, and the seats were comfortable.",
    "It is a matter of taste as much as of knowledge.",
    "One could begin with the basics and see where they lead.",
    "The room was quiet except for the clock on the wall.",
    "That is an open question for me.",
    "Take your time; nothing has to be decided today.",
    "A map and a pencil are all that is needed here.",
    "The market sells apples, pears and sometimes plums.",
    "Much of it can be found in any good handbook.",
    "The meeting was moved to the afternoon.",
    "In short, it varies from case to case.",
    "Music was playing somewhere, too far away to recognise.",
    "A simple example often explains more than a long text.",
    "The colours of the wall are grey, white and a pale blue.",
    "What matters more is how the work is organised.",
    "Dinner will be ready when everyone has arrived.",
)
"""Sentences without a claim about anything that a request could be about."""

REFUSALS = (
    "I'm sorry, but I can't help with that.",
    "I would rather not answer this.",
    "That is something I have to decline.",
    "I don't have anything to say about that.",
    "I'm not able to provide this.",
    "This is not something I can go into.",
    "I don't know the answer to that.",
    "Sorry, I can't give you that text.",
    "I have to pass on this one.",
    "I can't share that, but I am glad to help with something else.",
    "No, I won't do that.",
    "I'm afraid I can't tell you.",
    "That's outside what I can talk about.",
    "I must decline this request.",
    "I can't assist with this; perhaps there is another question I can answer.",
    "I have no information to offer on that.",
)
"""Refusals where the user gives none of their own."""
