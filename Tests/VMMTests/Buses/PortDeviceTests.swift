// SPDX-License-Identifier: Apache-2.0

import Boot
import Sandbox
import Testing
import Trace

@testable import VMM

@Suite struct PortDeviceTests {
  @Test("devices claim different ports, all below the end of the table and below I/O BARs")
  func ports() {
    var seen: Set<UInt16> = []
    for owner in PortOwner.allCases {
      for port in owner.ports.joined() {
        #expect(seen.insert(port).inserted, "port \(port) has two owners")
        #expect(Int(port) < PortOwner.end)
      }
    }
    #expect(seen.count == 8 + 5 + 3 + 2 + 1 + 1)
  }

  @Test("the DSDT describes the serial port with its GSI, and the panic port")
  func platformDevices() {
    #expect(PortOwner.platformDevices.map(\.name) == ["COM1", "PEVT"])
    #expect(PortOwner.platformDevices.map(\.gsi) == [4, nil])
    #expect(PortOwner.platformDevices.map(\.ports) == [0x3F8...0x3FF, 0x505...0x505])
  }

  @Test("the table of system calls has the rules of each device, which the core does not have")
  func rules() {
    #expect(Serial.rules.map(\.call) == ["epoll_ctl", "getpgrp"])
    let own = Rule.core.count + PortOwner.rules.count
    #expect(Rule.machine(nil).count == own)
    #expect(Rule.machine(.type1).count == own)
    #expect(Rule.machine(.iommufd).count == own + 1, "close, for dma-bufs")
    for (table, other) in [(Rule.type1, IOMMUInterface.type1), (Rule.iommufd, .iommufd)] {
      for rule in table {
        guard case .requests(let requests) = rule.condition else { continue }
        let whole = Rule.machine(other).first { $0.call == "ioctl" && $0.threads == rule.threads }
        guard case .requests(let all)? = whole?.condition else {
          Issue.record("no ioctl for \(rule.threads)")
          continue
        }
        for request in requests { #expect(all.contains { $0.name == request.name }) }
      }
    }
    for rule in PortOwner.rules {
      #expect(Rule.machine(.type1).contains { $0.call == rule.call && $0.reason == rule.reason })
      #expect(!Rule.core.contains { $0.call == rule.call && $0.threads == rule.threads })
    }
  }
}
