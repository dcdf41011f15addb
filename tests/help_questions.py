"""Ordinary questions, by the title of the help article that answers them best."""

from __future__ import annotations

TABLE = """
# Returns and refunds
what is your return policy? / how long do I have to send something back?
do I have to pay shipping for the return? / when do I get my money back?
can I exchange it for another colour? / how do I start a return?
can I return only one of the items? / is there a restocking fee on refunds?
how will the refund be paid to me? / can i still give it back after 3 weeks
what happens after I return my order? / Is it possible to swap the keyboard?
how big is my refund going to be? / I changed my mind about my purchase, can I return it?
who pays for sending it back? / will I be refunded in full? / what is the deadline for returns?
# Shipping times and costs
how much does express shipping cost? / when will my order leave the warehouse?
do you deliver to Canada? / can you ship it abroad? / is delivery free? / can I get it by friday?
can I change the delivery address after ordering? / I want to cancel my order
how many days does standard delivery take? / but I moved house, can you send it to my new address?
what are the shipping costs? / is there free shipping? / do you ship internationally?
how fast is express? / which countries do you ship to? / can you deliver tomorrow?
I gave the wrong address
# Tracking an order
where can I find my tracking number? / my parcel is lost / my package has not arrived yet
how do I track my order? / the tracking has not been updated for a day
my order is late, what can I do? / it never arrived / where is my package?
what is the status of my delivery? / my parcel should have been here two weeks ago
tracking says nothing / the carrier lost my parcel
# Warranty and repairs
how long is the warranty? / my headphones broke, what can I do?
does the warranty cover spilled coffee? / my laptop stopped working after a month
can you repair my keyboard? / the lamp arrived damaged / is there a guarantee on laptops?
one key of my keyboard is defective / how long does a repair take?
the fan makes a noise, is that covered by the warranty? / my lamp is broken / the screen is faulty
who repairs my laptop? / water got into my keyboard, is that covered?
it does not turn on any more
# Payment methods
which cards do you take? / can I pay with PayPal? / when will you charge my card?
can I pay in installments? / where is my invoice? / do you accept bank transfers?
is my order paid? / how can I pay? / I need a receipt for my taxes
what payment methods do you accept? / has my credit card been charged?
can you send me the invoice again? / do you take Apple Pay? / can I pay later?
is a debit card ok?
# The loyalty program
how do I become a Gold member? / what do I get as a Platinum customer?
how does the loyalty program work? / what is my tier? / how much do I have to spend for Platinum?
do I get a bonus? / do you have reward points? / what tiers are there? / when will I reach gold?
what are the advantages of gold? / tell me about your loyalty programme / am I platinum?
# Your account and how to reach us
can i talk to a real person please / what is your phone number? / how do I change my password?
I want to change my email address / when are you open? / can I speak with a manager?
I forgot my password and cannot log in / how can I contact you? / are you open on sundays?
I want to talk to someone / is there a hotline I can call? / what are your opening hours?
support email? / delete my account / I'd like to complain to a manager
how do I reset my password
"""
QUESTIONS = {
    title: questions.replace("\n", " / ").split(" / ")
    for title, _, questions in (part.strip().partition("\n") for part in TABLE.split("# ")[1:])
}

# For these, the right article does not come first: they have none of its words, or another's.
NOT_FIRST = {
    "can I get it by friday?",
    "Is it possible to swap the keyboard?",
    "it does not turn on any more",
    "when will I reach gold?",
}
