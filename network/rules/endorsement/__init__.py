"""From a proposal to enough endorsements: checks, the talk with a chaincode, the plan."""
